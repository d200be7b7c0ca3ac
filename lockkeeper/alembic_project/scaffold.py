"""New revisions in the user's project, written by the project's own Alembic from its own template."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lockkeeper.config import AlembicSettings
from lockkeeper.errors import AlembicProjectError, ProgramError
from lockkeeper.process import run_program

PROGRAM = Path(__file__).parent / "runner" / "scaffold.py"
IMPORTS = "import lockkeeper.ops  # noqa: F401 - registers op's online operations"
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class NewRevision:
    """What goes into one revision; the bodies are single statements. Without an id Alembic makes one."""

    message: str
    upgrade: str
    downgrade: str
    id: str | None = None


@dataclass(frozen=True)
class WrittenRevision:
    """One revision that is in the project now."""

    id: str
    down: str | None
    path: str


def write_revisions(
    settings: AlembicSettings,
    revisions: Sequence[NewRevision],
    *,
    head: str | None = None,
    version_path: str | None = None,
) -> list[WrittenRevision]:
    """Write revisions, each upon the one before, the first upon ``head``. No database is connected to.

    Not to be run twice: it writes them again. When one cannot be written, none stays.

    Args:
        settings: the project.
        revisions: in the order in which they will be applied.
        head: where the first is put; needed where the project has several heads.
        version_path: folder for the files, where the project has several.

    Raises:
        AlembicProjectError: Alembic refused; the project is as before.
    """
    request = {
        "config_file": str(settings.config_file.absolute()),
        "ini_section": settings.ini_section,
        "head": head,
        "version_path": version_path,
        "imports": IMPORTS,
        "revisions": [asdict(each) for each in revisions],
    }
    secrets = {key: secret.get_secret_value() for key, secret in settings.environment.items()}
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONHOME"}
    try:
        answer = run_program(
            [str(settings.interpreter), str(PROGRAM)],
            env={**environment, **secrets},
            cwd=settings.folder.absolute(),
            input_bytes=json.dumps(request).encode(),
            timeout_s=TIMEOUT_S,
        )
    except ProgramError as error:
        raise AlembicProjectError(f"The revisions could not be written: {error}") from error
    reply = json.loads(answer)
    if problem := reply.get("error"):
        raise AlembicProjectError(f"The revisions could not be written: {problem}")
    return [WrittenRevision(**each) for each in reply["revisions"]]


@dataclass(frozen=True)
class RenameRevisions:
    """What a rename's pair of revisions is about; the operations are those of ``lockkeeper.ops``."""

    table: str
    old: str
    new: str
    schema: str | None = None
    new_type: str | None = None
    up: str | None = None
    down: str | None = None

    def pair(self, expand_id: str | None = None, contract_id: str | None = None) -> list[NewRevision]:
        """Return expand and contract, in this order."""
        columns = [self.table, self.old, self.new]
        place = {"schema": self.schema}
        change = {**place, "type_": self.new_type, "up": self.up, "down": self.down}
        back = {**place, "type_": self.new_type}
        what = f"{self.table}.{self.old} to {self.new}"
        return [
            NewRevision(
                f"expand {what}",
                _call("expand_rename_online", columns, change),
                _call("abort_rename_online", columns, back),
                expand_id,
            ),
            NewRevision(
                f"contract {what}",
                _call("contract_rename_online", columns, place),
                _call("undo_contract_online", columns, back),
                contract_id,
            ),
        ]


def _call(operation: str, arguments: Sequence[str], options: Mapping[str, str | None]) -> str:
    given = [json.dumps(each, ensure_ascii=False) for each in arguments]
    given += [
        f"{name}={json.dumps(value, ensure_ascii=False)}"
        for name, value in options.items()
        if value is not None
    ]
    return f"op.{operation}({', '.join(given)})"
