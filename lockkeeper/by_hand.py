"""How somebody goes on at a shell where Lockkeeper has stopped: lines to be copied as they stand.

Who plays a run knows how its target is named to a command, and gives its engine the fitting lines: a command
of this program, or (``tasks.by_hand``) the run of a deployment. What a shell would take apart is quoted; no
line holds a secret, so the variables that hold them must be set in that shell, too, and where ``...`` stands
something is to be put: as it stands such a line is refused.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Protocol

LEFT_OUT = "..."
"""Stands for what only a human knows, or what may be a secret; whatever reads it refuses it."""


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

    def clean(self, *, waiting: bool = False) -> str:
        """Remove what earlier runs have left, with ``waiting`` also what waits for a human."""
        ...

    def rename(self, command: str, table: str, old: str, new: str) -> str:
        """Go on with a rename: start, flip, contract, abort, or see its status."""
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

    def clean(self, *, waiting: bool = False) -> str:
        """See ``ByHand``."""
        return self.line("clean", "--yes", *["--waiting"] * waiting)

    def rename(self, command: str, table: str, old: str, new: str) -> str:
        """See ``ByHand``."""
        words = [*self.program, "rename", command, self.target]
        return shlex.join([*words, *([] if command == "status" else [table, old, new]), *self.options])
