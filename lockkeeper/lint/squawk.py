"""squawk as a second pair of eyes: its findings of danger, mapped to the rules here; its style left out.

It runs with a configuration of ours, so that one in the project's folder cannot switch rules off unseen.
"""

from __future__ import annotations

import json
import shutil
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from lockkeeper.errors import ConfigurationError, ProgramError
from lockkeeper.lint.analysis import Judged
from lockkeeper.lint.registry import SQUAWK_RULES
from lockkeeper.lint.verdicts import Verdict
from lockkeeper.process import running

TIME_LIMIT_S = 120.0


class _Finding(BaseModel):
    file: str
    line: int
    message: str
    help: str | None = None
    rule_name: str


@dataclass(frozen=True)
class _Script:
    """One transaction, or all of a revision's autocommit statements, as squawk is to read it."""

    judged: tuple[Judged, ...]
    in_transaction: bool

    def text_and_lines(self) -> tuple[str, list[Judged]]:
        """Return the text and, for each of its lines, the statement that the line belongs to."""
        text, lines = "", []
        for each in self.judged:
            part = each.parsed.text.rstrip().rstrip(";") + "\n;\n"
            text += part
            lines += [each] * part.count("\n")
        return text, lines


def find_squawk() -> Path:
    """Return the installed executable: of this interpreter's environment, else of the PATH.

    Raises:
        ConfigurationError: squawk is not installed.
    """
    found = shutil.which("squawk", path=sysconfig.get_path("scripts")) or shutil.which("squawk")
    if found is None:
        raise ConfigurationError(
            "squawk is not installed, so migrations cannot be linted. Install it with: "
            "pip install 'lockkeeper[lint]'"
        )
    return Path(found)


def squawk_cmd(
    executable: Path, config: Path, files: Sequence[Path], major: int, in_transaction: bool
) -> list[str]:
    """Return the argv that lints ``files`` for PostgreSQL ``major``."""
    assume = "--assume-in-transaction" if in_transaction else "--no-assume-in-transaction"
    options = ["--reporter", "json", "--config", str(config), "--pg-version", f"{major}.0", assume]
    return [str(executable), *options, *map(str, files)]


def add_squawk_verdicts(judged: Sequence[Judged], version: int) -> None:
    """Add a verdict wherever squawk sees a danger that the rules here neither raised nor cleared.

    Raises:
        ConfigurationError: squawk is not installed.
        ProgramError: it failed, or answered what cannot be understood.
    """
    executable = find_squawk()
    scripts = _scripts(judged)
    for in_transaction in (True, False):
        chosen = [each for each in scripts if each.in_transaction is in_transaction]
        if chosen:
            _check(executable, chosen, version, in_transaction)


def _scripts(judged: Sequence[Judged]) -> list[_Script]:
    grouped: dict[tuple[str | None, int | None], list[Judged]] = {}
    for each in judged:
        if each.parsed.node is not None and each.parsed.kind not in ("", "transaction_stmt"):
            grouped.setdefault((each.revision, each.transaction), []).append(each)
    return [_Script(tuple(group), transaction is not None) for (_, transaction), group in grouped.items()]


def _check(executable: Path, scripts: Sequence[_Script], version: int, in_transaction: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="lockkeeper-lint-") as name:
        folder = Path(name)
        config = folder / "squawk.toml"
        config.write_text("")
        lines: dict[str, list[Judged]] = {}
        for number, script in enumerate(scripts):
            text, of_lines = script.text_and_lines()
            path = folder / f"{number}.sql"
            path.write_text(text, encoding="utf-8")
            lines[path.name] = of_lines
        files = [folder / each for each in lines]
        findings = _run(squawk_cmd(executable, config, files, version // 10000, in_transaction), folder)
    for finding in findings:
        of_file = lines[Path(finding.file).name]
        _add(of_file[min(finding.line, len(of_file) - 1)], finding)


def _run(argv: Sequence[str], folder: Path) -> list[_Finding]:
    with running(argv, cwd=folder) as program:
        output = program.stdout.read() if program.stdout else b""
        code = program.wait(TIME_LIMIT_S)
        if code not in (0, 1):
            raise ProgramError(argv, code, program.stderr())
    try:
        return TypeAdapter(list[_Finding]).validate_python(json.loads(output))
    except (ValidationError, ValueError) as error:
        raise ProgramError(argv, code, f"its answer is not what was expected: {error}") from error


def _add(judged: Judged, finding: _Finding) -> None:
    ours = SQUAWK_RULES.get(finding.rule_name)
    if ours is None or any(verdict.rule in ours for verdict in judged.verdicts):
        return
    message = f"squawk ({finding.rule_name}): {finding.message}"
    judged.verdicts.append(Verdict(ours[0], message, finding.help or "", source="squawk"))
