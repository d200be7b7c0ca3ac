"""How somebody goes on with a target that is a block: by runs of the deployments of prefect.yaml.

The command line knows no blocks; and what a run has left behind lies on the worker's machine.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from lockkeeper.by_hand import LEFT_OUT, AskedRename, as_parameter


@dataclass(frozen=True)
class Deployments:
    """Lines that start a deployment on the target and wait for its end; a ``lockkeeper.by_hand.ByHand``.

    Attributes:
        target: the block's name.
        flow_run: the id of the flow run that prints them, where it can wait for an answer.
    """

    target: str
    flow_run: str | None = None

    def migrate(self, revision: str, approving: str) -> str:
        """See ``ByHand``. A deployment's run asks by itself, and is then approved."""
        return self._run("production-migration", revision=revision)

    def recover(self) -> str:
        """See ``ByHand``."""
        return self._run("recover")

    def restore(self, backup_id: str, *, accept_loss: bool = False) -> str:
        """See ``ByHand``."""
        loss = {"accept_loss": True} if accept_loss else {}
        return self._run("restore", backup_id=backup_id, **loss)

    def undo(self) -> str:
        """See ``ByHand``."""
        return self._run("undo")

    def clean(self, *, waiting: bool = False, quarantine: str | None = None) -> str:
        """See ``ByHand``."""
        asked = {"waiting": waiting, "quarantine": quarantine}
        return self._run("clean", **{name: value for name, value in asked.items() if value})

    def begin_rename(self, asked: AskedRename) -> str:
        """See ``ByHand``. The deployment goes on where the ledger says, and asks what is to be decided."""
        columns = {"table": asked.table, "old_column": asked.old, "new_column": asked.new}
        return self._run("zero-downtime-rename", **columns, **asked.given)

    def approve_rename(self, command: str, asked: AskedRename) -> str:
        """See ``ByHand``. What waits is this flow run: another one would ask the same again."""
        if self.flow_run is None:
            return self.begin_rename(asked)
        return f'lockkeeper approve {self.flow_run} --reason "{LEFT_OUT}"'

    def abort_rename(self, asked: AskedRename) -> str:
        """See ``ByHand``. No deployment aborts: a run asks, and is answered so."""
        return (
            f'lockkeeper abort RUN --reason "{LEFT_OUT}"\n'
            f"RUN is the id of the flow run that asks about it; where none does, start one, which will:\n"
            f"{self.begin_rename(asked)}"
        )

    def inspect_renames(self) -> None:
        """See ``ByHand``. Every run of the deployment goes on."""

    def _run(self, name: str, **parameters: object) -> str:
        words = ["prefect", "deployment", "run", f"{name}/{name}"]
        for key, value in {"target": self.target, **parameters}.items():
            words += ["-p", f"{key}={as_parameter(value)}"]
        return shlex.join([*words, "--watch"])
