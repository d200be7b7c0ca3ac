"""Starts the processes of capture and replay, which outlive the run, and hands them their target.

The target holds secrets, so it travels in the environment: never in argv, never in a file.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from lockkeeper.config import Target
from lockkeeper.local.daemons import ProcessIdentity, start_daemon

JOB_VARIABLE = "LOCKKEEPER_RECOVERY_JOB"


def start_worker(module: str, target: Target, folder: Path, **more: str) -> ProcessIdentity:
    """Start ``module``'s ``main`` in a session of its own; it logs into ``folder``.

    Raises:
        ProgramError: it cannot be started.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    bare = target.model_copy(update={"alembic": None, "slack_webhook_url": None})
    job = {"target": _revealed(bare.model_dump(mode="python")), "folder": str(folder), "more": more}
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    argv = [sys.executable, "-c", f"from {module} import main; main()"]
    log_file = folder / f"{module.rpartition('.')[0].rpartition('.')[2]}.log"
    return start_daemon(argv, log_file, env={**inherited, JOB_VARIABLE: json.dumps(job)}, cwd=Path.cwd())


def received_job() -> tuple[Target, Path, dict[str, str]]:
    """Return what ``start_worker`` has handed over, and forget it, so that no child inherits it."""
    job = json.loads(os.environ.pop(JOB_VARIABLE))
    return Target.model_validate(job["target"]), Path(job["folder"]), job["more"]


def _revealed(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return {key: _revealed(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_revealed(each) for each in value]
    return str(value) if isinstance(value, Path) else value
