"""Somebody at a shell of their own, who copies a line out of a report and runs it as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from lockkeeper.home import HOME_VARIABLE
from lockkeeper.registry import FILE_NAME, Registry, make_entry

PROGRAMS = Path(sys.executable).parent
LIMIT_S = 120


def at_a_shell(shop: Any, line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``line`` in a folder that has nothing to do with it, with the secrets of ``shop`` at hand."""
    return subprocess.run(
        ["sh", "-c", line],
        cwd="/",
        env={
            **os.environ,
            "PATH": os.pathsep.join([str(PROGRAMS), os.environ["PATH"]]),
            "SHOP_URL": shop.target.database_url.get_secret_value(),
            **environment,
        },
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=LIMIT_S,
        check=False,
    )


def register(shop: Any, home: Path) -> dict[str, str]:
    """Register ``shop`` as somebody on call has it; returns the environment that finds it."""
    entry = {
        "database_url_env": "SHOP_URL",
        "alembic": {
            "config_file": shop.target.alembic.config_file,
            "rules_dir": shop.target.alembic.rules_dir,
        },
        "storage": {"kind": "local", "path": shop.target.storage.path},
        "policies": shop.target.policies.model_dump(exclude_unset=True),
    }
    Registry(home / FILE_NAME).add("shop", make_entry("shop", entry))
    return {HOME_VARIABLE: str(home)}
