"""How somebody goes on at a shell where Lockkeeper has stopped: lines to be copied as they stand.

Who plays a run knows how its target is named to a command, and gives its engine the fitting lines: a command
of this program, or (``tasks.by_hand``) the run of a deployment. What a shell would take apart is quoted; no
line holds a secret, so the variables that hold them must be set in that shell, too, and where ``...`` stands
something is to be put: as it stands such a line is refused.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

LEFT_OUT = "..."
"""Stands for what only a human knows, or what may be a secret; whatever reads it refuses it."""

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]*")
_JSON_NAMES = ("null", "true", "false", "NaN", "Infinity")


@dataclass(frozen=True)
class AskedRename:
    """A rename as it was asked for.

    Attributes:
        table: with its schema where it was given.
        old: the column as it is called now.
        new: what it will be called.
        given: what differs from a bare rename, of new_type, up, down, flag and policy (as JSON has it).
    """

    table: str
    old: str
    new: str
    given: Mapping[str, Any] = field(default_factory=dict)


class ByHand(Protocol):
    """The operations that a report, an error or a note tells somebody to run, on the target of this run."""

    def migrate(self, revision: str, approving: str) -> str:
        """Migrate, with an approval of what the run ``approving`` has found."""
        ...

    def recover(self) -> str:
        """Take up the newest migration, which was killed or left the rest to a human."""
        ...

    def restore(self, backup_id: str, *, accept_loss: bool = False) -> str:
        """Let a backup take the database's place."""
        ...

    def undo(self) -> str:
        """Undo the newest migration, which succeeded."""
        ...

    def clean(self, *, waiting: bool = False, quarantine: str | None = None) -> str:
        """Remove what earlier runs have left, also what waits for a human, and a quarantine, by its name."""
        ...

    def begin_rename(self, asked: AskedRename) -> str:
        """Begin a rename, or go on with it where its ledger says."""
        ...

    def approve_rename(self, command: str, asked: AskedRename) -> str:
        """Answer a run that waits with a yes: to the ``flip``, or to the ``contract``."""
        ...

    def abort_rename(self, asked: AskedRename) -> str:
        """Bring back what was before a rename; what is returned may be words with lines in them."""
        ...

    def inspect_renames(self) -> str | None:
        """See where the renames stand, changing nothing; None where no line only looks."""
        ...


@dataclass(frozen=True)
class CommandLine:
    """Commands of this program.

    Attributes:
        target: the name that the command knows the target by.
        options: what describes it where it is not registered, and the policies that were set.
        program: what the shell is to start, with variables in front of it.
    """

    target: str
    options: tuple[str, ...] = ()
    program: tuple[str, ...] = ("lockkeeper",)

    def line(self, command: str, *arguments: str) -> str:
        """Return a command with its arguments after the target, quoted for a POSIX shell."""
        return shlex.join([*self.program, command, self.target, *arguments, *self.options])

    def migrate(self, revision: str, approving: str) -> str:
        """See ``ByHand``. The reason is left to who copies it: as it stands it is refused.

        Beside options a name alone might be taken for a revision.
        """
        destination = [] if revision == "head" and not self.options else [revision]
        return self.line("migrate", *destination, "--approve", approving) + f' --reason "{LEFT_OUT}"'

    def recover(self) -> str:
        """See ``ByHand``."""
        return self.line("recover")

    def restore(self, backup_id: str, *, accept_loss: bool = False) -> str:
        """See ``ByHand``."""
        return self.line("restore", backup_id, *["--accept-loss"] * accept_loss)

    def undo(self) -> str:
        """See ``ByHand``."""
        return self.line("undo")

    def clean(self, *, waiting: bool = False, quarantine: str | None = None) -> str:
        """See ``ByHand``."""
        named = ["--quarantine", quarantine] if quarantine else []
        return self.line("clean", "--yes", *named, *["--waiting"] * waiting)

    def begin_rename(self, asked: AskedRename) -> str:
        """See ``ByHand``."""
        return self.rename("start", asked)

    def approve_rename(self, command: str, asked: AskedRename) -> str:
        """See ``ByHand``."""
        return self.rename(command, asked)

    def abort_rename(self, asked: AskedRename) -> str:
        """See ``ByHand``."""
        return self.rename("abort", asked)

    def inspect_renames(self) -> str:
        """See ``ByHand``."""
        return shlex.join([*self.program, "rename", "status", self.target, *self.options])

    def rename(self, command: str, asked: AskedRename) -> str:
        """Return a command on the change that was asked for, with all that makes it that change."""
        given = asked.given
        words = [*self.program, "rename", command, self.target, asked.table, asked.old, asked.new]
        for name in ("new_type", "up", "down", "flag"):
            if name in given:
                words += [f"--{name.removeprefix('new_')}", given[name]]
        for key, value in _flat(given.get("policy", {})):
            words += ["--policy", f"{key}={as_parameter(value)}"]
        return shlex.join([*words, *self.options])


def as_parameter(value: object) -> str:
    """Return what ``--policy`` and Prefect read as ``value``: a plain name as it is, and the rest as JSON."""
    plain = isinstance(value, str) and _PLAIN.fullmatch(value) and value not in _JSON_NAMES
    return str(value) if plain else json.dumps(value, ensure_ascii=False)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``a.b`` and 1 of ``{"a": {"b": 1}}``."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
