"""What commands return, and the one place that writes it: text with rich, or exactly one JSON document.

Results go to stdout; progress, logs and errors go to stderr. With ``--json`` whatever a library prints is
sent to stderr too. Every text is redacted here, whoever wrote it.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from lockkeeper.redaction import redact

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

OUTCOMES = {0: "succeeded", 1: "failed", 2: "refused", 3: "needs a human"}
_PLAIN_WIDTH = 200  # of a stdout that is no terminal: wide enough that no table cell is folded


@dataclass(frozen=True)
class Result:
    """How a command ended: ``data`` is what ``--json`` prints, ``text`` what a person sees.

    ``next_command`` follows the text, on a line of its own that is never broken: it is there to be copied.
    """

    exit_code: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)
    text: RenderableType | None = None
    outcome: str | None = None
    next_command: str | None = None

    def document(self) -> dict[str, Any]:
        """Return the JSON document; ``outcome`` and ``exit_code`` are in every one."""
        outcome = self.outcome or OUTCOMES[self.exit_code]
        return {"outcome": outcome, "exit_code": self.exit_code, **self.data}


@dataclass
class Session:
    """What is common to one call of the program.

    Attributes:
        json: exactly one JSON document goes to stdout.
        debug: show tracebacks (redacted) and all logs.
        verbose: write progress to stderr even when it is no terminal.
        changing: a command has begun to change a database; from then on, an unexpected error must not
            claim that the database is as before. Holds what to run next.
        checking: the command only checks: whatever ends it early means "could not check", never "findings".
        answered: the result has been written already (``--version``).
    """

    json: bool = False
    debug: bool = False
    verbose: bool = False
    changing: str | None = None
    checking: bool = False
    answered: bool = False
    stdout: TextIO = field(default_factory=lambda: _writable(sys.stdout))
    stderr: TextIO = field(default_factory=lambda: _writable(sys.stderr))

    @classmethod
    def from_arguments(cls, argv: list[str]) -> Session:
        """Read the flags that are the same everywhere; they must be known even for unparsable arguments."""
        flags = set(argv[: argv.index("--")] if "--" in argv else argv)
        verbose = bool(flags & {"--verbose", "-v"})
        return cls(json="--json" in flags, debug="--debug" in flags, verbose=verbose)

    def console(self, stream: TextIO) -> Console:
        """Return a console on ``stream``, which is plain and wide when that is no terminal."""
        from rich.console import Console

        width = None if stream.isatty() else _PLAIN_WIDTH
        return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)

    @contextlib.contextmanager
    def guarding_stdout(self) -> Iterator[None]:
        """Keep stdout for the one document: prints of libraries go to stderr meanwhile."""
        if not self.json:
            yield
            return
        with contextlib.redirect_stdout(self.stderr):
            yield

    def emit(self, result: Result) -> None:
        """Write the result; whether that succeeds does not change the exit code, which tells of the database.

        A full disk is told on stderr. A reader that wants no more (``| head``) is nobody's business.
        """
        try:
            if self.json:
                escape = "utf" not in (self.stdout.encoding or "").lower()  # of a terminal with few letters
                text = json.dumps(redacted(result.document()), indent=2, ensure_ascii=escape, default=str)
                self.stdout.write(text + "\n")
            elif result.text is not None:
                console = self.console(self.stdout)
                console.print(result.text, soft_wrap=not self.stdout.isatty())
                if result.next_command:
                    console.print(f"\nNext:\n{redact(result.next_command)}", style="bold", soft_wrap=True)
            self.stdout.flush()
        except OSError as error:
            # Python would complain again about the closed pipe when it flushes stdout at exit.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())
            if not isinstance(error, BrokenPipeError):
                self._to_stderr(f"The result could not be written ({error}); exit code {result.exit_code}.")

    def complain(self, message: str) -> None:
        """Write an error for people; with ``--json`` it is in the document instead."""
        if not self.json:
            self._to_stderr(message)

    def _to_stderr(self, message: str) -> None:
        with contextlib.suppress(OSError):
            self.stderr.write(redact(message).rstrip() + "\n")
            self.stderr.flush()

    @property
    def shows_progress(self) -> bool:
        """Whether anybody looks: a terminal, or somebody who asked for it."""
        return self.verbose or self.stderr.isatty()


def _writable(stream: TextIO | None) -> TextIO:
    """Return a stream that takes every character, also where the caller has closed it (``>&-``)."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def redacted(value: Any) -> Any:
    """Return a JSON-able value with every string in it redacted, keys included."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(key)): redacted(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redacted(item) for item in value]
    return value


class _RedactingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def configure_logging(session: Session) -> None:
    """Send Lockkeeper's logs to stderr: warnings, with ``--verbose`` progress, with ``--debug`` all."""
    handler = logging.StreamHandler(session.stderr)
    handler.setFormatter(_RedactingFormatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("lockkeeper")
    logger.handlers = [handler]
    logger.propagate = False
    default = logging.INFO if session.verbose else logging.WARNING
    logger.setLevel(logging.DEBUG if session.debug else default)
    logging.raiseExceptions = session.debug  # a terminal that is gone must not end a recovery
