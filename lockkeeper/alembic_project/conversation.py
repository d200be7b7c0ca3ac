"""One process with the user's project in it, and the conversation with it.

The child is tied to the thread that opened the session (it is killed when that thread ends), so open and
use a session within one thread. The URL goes to it on stdin, never in argv; its events come back on a pipe
that the project's own output cannot reach.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from sqlalchemy.engine import URL

from lockkeeper.alembic_project.failures import ChildFailure, converting_failures
from lockkeeper.alembic_project.outcome import end_sessions
from lockkeeper.alembic_project.self_waits import SelfWaits
from lockkeeper.config import AlembicSettings, Policies
from lockkeeper.costs import CostMeter
from lockkeeper.errors import AlembicProjectError, ConnectionLostError, DatabaseError, LockkeeperError
from lockkeeper.postgres.connection import (
    Connection,
    application_name,
    connect,
    fetch_one,
    named_query,
)
from lockkeeper.process import RunningProgram, running
from lockkeeper.redaction import redact, register_secret

RUNNER = Path(__file__).parent / "runner" / "__main__.py"
PACKAGE = "lockkeeper.alembic_project"
LET_GO_S, STOP_POLL_S = 3.0, 0.5
"""How long a project whose sessions were ended may take to notice it, before its process is ended too."""
LOOKS_IN_A_LOCK_TIMEOUT, LEAST_POLL_S = 3, 0.05
READ_TIMEOUT_S = 120.0
"""Limit for everything that only reads: loading the project, plans, differences."""

_WITHOUT_DATABASE = frozenset({"outcome", "history"})
"""Operations that only read the project's revisions."""

Facts = dict[str, Any]
Listener = Callable[[Facts], None]


class OwnMarks(NamedTuple):
    """SQL by which a migration marks what it writes as its own, for whoever reads the write-ahead log.

    Attributes:
        sessions: alternatives for a new session, tried in order until one succeeds: two sessions that are
            open at the same time cannot carry the same replication origin.
        transaction: run at the beginning of every transaction; None where the session's mark is enough.
        commit: run before every commit, and after DDL outside of transactions.
    """

    sessions: tuple[tuple[str, ...], ...] = ()
    transaction: str | None = None
    commit: tuple[str, ...] = ()


class Reply(NamedTuple):
    """The answer to one request, with what the revision wrote to each table and what it cost."""

    value: Facts
    writes: dict[str, tuple[int, int, int]] | None
    cost: Facts


class ProjectProcess:
    """A context manager: the project is loaded at its beginning, nothing of it runs after its end.

    Args:
        settings: the project.
        url: the database; the driver is chosen for the project (``AlembicSettings.driver``).
        role: part of the sessions' ``application_name``: ``migrate`` may change things, others only read.
        run_id: the run that it belongs to.
        policies: ``lock_timeout_ms`` and ``statement_timeout_ms`` of every session that it opens.
        marks: how sessions that may write mark what they write.

    Attributes:
        meter: measures what each upgrade costs; None to leave that.
        stopping: whether the operation is to end; asked while it runs. When it goes on for ``LET_GO_S`` after
            that, its process is ended: code that sleeps notices nothing of its session's end.
        recorded: gets revision -> the statements that it sent (text, in_transaction); None to leave that.

    Raises:
        AlembicProjectError: the project cannot be loaded.
        ConnectionLostError: the database cannot be reached.
    """

    def __init__(
        self,
        settings: AlembicSettings,
        url: URL,
        *,
        role: str = "plan",
        run_id: str | None = None,
        policies: Policies | None = None,
        marks: OwnMarks | None = None,
    ) -> None:
        self.marks = marks or OwnMarks()
        self.settings = settings
        self.url = url
        self.name = application_name(role, run_id or os.urandom(4).hex())
        self.policies = policies or Policies()
        self.backends: list[str] = []
        self._self_waits = SelfWaits(self.name)
        self.meter: CostMeter | None = None
        self.recorded: dict[str, list[Facts]] | None = None
        self.stopping: Callable[[], bool] = lambda: False
        self._stack = contextlib.ExitStack()
        self._buffer = b""
        self._busy = False
        self._once_per_process = False
        self._env_first = False
        self._identifying: tuple[contextlib.ExitStack, Connection] | None = None
        register_secret(url.password)
        for secret in settings.environment.values():
            register_secret(secret.get_secret_value())

    # -- life ---------------------------------------------------------------------------------------------

    def __enter__(self) -> ProjectProcess:
        if not self.settings.config_file.is_file():
            raise AlembicProjectError(f"There is no Alembic configuration at {self.settings.config_file}.")
        if not self.settings.folder.is_dir():
            raise AlembicProjectError(f"There is no folder {self.settings.folder} to run Alembic in.")
        try:
            with converting_failures(self.settings):
                self._start()
        except BaseException:
            self.close()
            raise
        return self

    def _start(self) -> None:
        """Start a fresh child, after the end of the one before."""
        self._stack.close()
        self._buffer = b""
        opening = self._opening()
        self._program, self._events = self._stack.enter_context(self._child())
        self._exchange(opening, time.monotonic() + READ_TIMEOUT_S, None)

    def renew(self) -> None:
        """Go on in a fresh process: sessions that the former one has left open are ended.

        What they have not committed is rolled back, so the caller makes sure that nothing is missed.

        Raises:
            DatabaseError: one of them does not end.
        """
        self._stack.close()
        end_sessions(self.url, self.name, self.backends)
        self._start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill the child; when it was in the middle of something, end its statements on the server, too."""
        self._stack.close()
        self._forget_connection()
        if self._busy:
            self._busy = False
            with contextlib.suppress(DatabaseError):  # the server is gone, and its statements with it
                end_sessions(self.url, self.name, self.backends)

    @contextlib.contextmanager
    def _child(self) -> Iterator[tuple[RunningProgram, int]]:
        read_end, write_end = os.pipe()
        try:
            argv = [str(self.settings.interpreter), str(RUNNER), str(write_end)]
            with running(
                argv,
                env=self._environment(),
                cwd=self.settings.folder.absolute(),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,  # the child puts it together with stderr
                pass_fds=(write_end,),
            ) as program:
                os.close(write_end)
                write_end = -1
                yield program, read_end
        finally:
            os.close(read_end)
            if write_end >= 0:
                os.close(write_end)

    def _environment(self) -> dict[str, str]:
        """The child's environment: ours, the project's, and the time-outs for connections of libpq's own."""
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONHOME"}
        environment |= {key: secret.get_secret_value() for key, secret in self.settings.environment.items()}
        options = [f"-c {name}={value}" for name, value in self._timeouts().items()]
        if inherited := environment.get("PGOPTIONS"):
            options.insert(0, inherited)
        return environment | {"PGOPTIONS": " ".join(options), "PGAPPNAME": self.name}

    def _timeouts(self) -> dict[str, str]:
        return {
            "lock_timeout": f"{self.policies.lock_timeout_ms}ms",
            "statement_timeout": f"{self.policies.statement_timeout_ms}ms",
        }

    def _opening(self) -> Facts:
        with connect(self.url, "identify") as connection:
            can_flush, counts = fetch_one(connection, named_query("server_abilities", PACKAGE))
        settings = self.settings
        return {
            "config_file": str(settings.config_file.absolute()),
            "ini_section": settings.ini_section,
            "url": self.url.render_as_string(hide_password=False),
            "url_env": settings.url_env,
            "driver": settings.driver,
            "x_arguments": settings.x_arguments,
            "identity": self._identity(),
            "identity_sql": named_query("identity", PACKAGE),
            "writes_sql": named_query("own_writes", PACKAGE),
            "locks_sql": named_query("own_locks", PACKAGE),
            "scans_sql": named_query("own_scans", PACKAGE),
            "can_flush": can_flush,
            "counts_writes": counts,
            "own_sessions": self.marks.sessions,
            "own_transaction": self.marks.transaction,
            "own_commit": self.marks.commit,
            "session_settings": {**self._timeouts(), "application_name": self.name},
        }

    def _identity(self) -> list[str]:
        """Ask which database it is; in one connection for all requests, opened again when it was lost."""
        if self._identifying is not None:
            try:
                return self._asked(self._identifying[1])
            except ConnectionLostError:
                self._forget_connection()
        stack = contextlib.ExitStack()
        self._identifying = stack, stack.enter_context(connect(self.url, "identify"))
        return self._asked(self._identifying[1])

    def _asked(self, connection: Connection) -> list[str]:
        return [str(value) for value in fetch_one(connection, named_query("identity", PACKAGE))]

    def _forget_connection(self) -> None:
        if self._identifying is not None:
            self._identifying[0].close()
            self._identifying = None

    # -- conversation -------------------------------------------------------------------------------------

    def request(
        self, operation: str, *, deadline: float | None = None, listener: Listener | None = None, **facts: Any
    ) -> Reply:
        """Ask the child for one operation and wait for the answer.

        Args:
            operation: the name of a ``do_...`` method of ``runner/service.py``.
            deadline: ``time.monotonic()`` at which the child is killed; default READ_TIMEOUT_S from now.
            listener: told of what happens before the answer (connections, commits, autocommit statements,
                revisions that begin).
            **facts: the operation's arguments.

        Raises:
            ChildFailure: the operation failed; the sessions of a child that died or was killed are ended.
        """
        deadline = deadline or time.monotonic() + READ_TIMEOUT_S
        if self._once_per_process:
            self._start()
        try:
            return self._exchange(self._message(operation, facts), deadline, listener)
        except ChildFailure as failure:
            if failure.facts.get("try_fresh"):
                # Some env.py cannot run twice in one process (they define tables on imported metadata, say).
                self._once_per_process = True
            elif failure.facts.get("without_env") and not self._env_first:
                # Some revisions import what only env.py prepares (models of an application, say).
                self._env_first = True
            else:
                raise
        self._start()
        return self._exchange(self._message(operation, facts), deadline, listener)

    def _message(self, operation: str, facts: Facts) -> Facts:
        message = {"op": operation, **facts}
        self._self_waits.begin(message)
        if operation not in _WITHOUT_DATABASE or self._env_first:
            message["identity"] = self._identity()
        if operation in _WITHOUT_DATABASE or facts.get("current") is not None:
            message["env_first"] = self._env_first  # the others run it themselves
        return message

    def _exchange(self, message: Facts, deadline: float, listener: Listener | None) -> Reply:
        self._busy = True
        self._send(message)
        while True:
            event = self._receive(deadline)
            if event["event"] == "connected":
                self.backends.append(event["backend"])
                self._self_waits.opened(event["backend"])
            elif event["event"] == "begins":
                self._self_waits.begins(event["revision"])
            elif event["event"] in ("done", "error"):
                self._busy = False
                writes, cost = event.pop("writes", None), event.pop("cost", {})
                if writes is not None:
                    writes = {table: tuple(counts) for table, counts in writes.items()}
                if event["event"] == "error":
                    wait = self._self_waits.told(event.pop("last_statements"))
                    redacted = {k: redact(v) if isinstance(v, str) else v for k, v in event.items()}
                    raise ChildFailure({**redacted, "writes": writes}, wait)
                return Reply(event["value"], writes, cost)
            if listener is not None:
                listener(event)

    @property
    def _poll_s(self) -> float:
        """How often to look, so that a wait is seen before the lock time-out ends it."""
        timeout_s = self.policies.lock_timeout_ms / 1000
        return min(STOP_POLL_S, max(LEAST_POLL_S, timeout_s / LOOKS_IN_A_LOCK_TIMEOUT))

    def _send(self, message: Facts) -> None:
        stdin = self._program.stdin
        try:
            if stdin is not None:
                stdin.write(json.dumps(message).encode() + b"\n")
                stdin.flush()
        except BrokenPipeError:
            raise self._end("died", "") from None

    def _receive(self, deadline: float) -> Facts:
        stop_at = None
        while b"\n" not in self._buffer:
            now = time.monotonic()
            stop_at = (stop_at or now + LET_GO_S) if self.stopping() else None
            if now >= deadline:
                raise self._end("timeout", "did not finish within its time limit and was stopped")
            if stop_at is not None and now >= stop_at:
                raise self._end("stopped", f"went on for {LET_GO_S:g} s and was stopped")
            if not select.select([self._events], [], [], min(deadline - now, self._poll_s))[0]:
                if self._identifying is not None:
                    self._self_waits.look(self._identifying[1])
                continue
            chunk = os.read(self._events, 65536)
            if not chunk:
                raise self._end("died", "")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return dict(json.loads(line))

    def _end(self, kind: str, why: str) -> ChildFailure:
        """Kill what is left of the child, end its statements on the server, and describe what happened."""
        if kind == "died":
            with contextlib.suppress(LockkeeperError):
                why = f"its process ended with exit code {self._program.wait(5)}"
        self._program.kill()
        output = self._program.stderr().strip()[-2000:]
        try:
            end_sessions(self.url, self.name, self.backends)
            self._busy = False
        except DatabaseError as error:
            why += f"; its sessions could not be ended ({error})"
        return ChildFailure({"kind": kind, "message": why, "traceback": output}, self._self_waits.told({}))
