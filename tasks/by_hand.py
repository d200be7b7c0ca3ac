"""How somebody goes on with a target that is a block: by runs of the deployments of prefect.yaml.

The command line knows no blocks; and what a run has left behind lies on the worker's machine.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]*")
_JSON_NAMES = ("null", "true", "false", "NaN", "Infinity")


@dataclass(frozen=True)
class Deployments:
    """Lines that start a deployment on the target and wait for its end; a ``lockkeeper.by_hand.ByHand``."""

    target: str

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

    def clean(self, *, waiting: bool = False) -> str:
        """See ``ByHand``."""
        return self._run("clean", **({"waiting": True} if waiting else {}))

    def rename(self, command: str, table: str, old: str, new: str) -> str:
        """See ``ByHand``. The deployment goes on where the ledger says, and asks what is to be decided."""
        return self._run("zero-downtime-rename", table=table, old_column=old, new_column=new)

    def _run(self, name: str, **parameters: object) -> str:
        words = ["prefect", "deployment", "run", f"{name}/{name}"]
        for key, value in {"target": self.target, **parameters}.items():
            words += ["-p", f"{key}={_as_json(value)}"]
        return shlex.join([*words, "--watch"])


def _as_json(value: object) -> str:
    """Return a parameter's value: a plain name as it is, which Prefect reads as text; the rest as JSON."""
    plain = isinstance(value, str) and _PLAIN.fullmatch(value) and value not in _JSON_NAMES
    return str(value) if plain else json.dumps(value, ensure_ascii=False)
