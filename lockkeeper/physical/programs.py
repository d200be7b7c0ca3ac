"""Finds PostgreSQL's programs for physical backups: exactly the server's major, server programs among them.

Files of one major version are nothing to a server of another, so unlike a dump's there is no choice.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from lockkeeper.errors import ConfigurationError, ProgramError
from lockkeeper.local.postgres_server import reachable_bin_dir, server_user
from lockkeeper.postgres.clients import program_folders
from lockkeeper.process import run_program

PROGRAMS = ("pg_basebackup", "pg_receivewal", "pg_verifybackup", "pg_waldump", "postgres")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


class PhysicalPrograms(NamedTuple):
    """Programs of one installation; ``user`` is whom the server must run as (None: whoever we are)."""

    folder: Path
    user: str | None

    def path(self, name: str) -> str:
        """Return the path of a program, for an argv."""
        return str(self.folder / name)


@lru_cache(maxsize=64)
def _major(folder: Path) -> int | None:
    """Return the major version of the programs in a folder, or None when one is missing or does not run."""
    if not all((folder / name).exists() for name in PROGRAMS):
        return None
    try:
        answer = _VERSION.search(run_program([str(folder / "postgres"), "--version"], timeout_s=20))
    except ProgramError:
        return None
    return int(answer[1]) if answer else None


def find_physical_programs(server_version_num: int, bin_dir: Path | None = None) -> PhysicalPrograms:
    """Return the installed programs of the server's own major version.

    Args:
        server_version_num: as ``SHOW server_version_num`` says, e.g. 160014.
        bin_dir: look here first.

    Raises:
        ConfigurationError: there are none; the message says what to install.
    """
    wanted = server_version_num // 10000
    folders = [*([bin_dir] if bin_dir else []), *program_folders()]
    for folder in folders:
        if _major(folder) == wanted:
            user = server_user()
            return PhysicalPrograms(reachable_bin_dir(folder, user), user)
    seen = sorted({major for folder in folders if (major := _major(folder))})
    raise ConfigurationError(
        f"A physical backup of PostgreSQL {wanted} needs its own programs here ({', '.join(PROGRAMS)}); this "
        f"machine has those of {', '.join(map(str, seen)) or 'no version'}. Install postgresql-{wanted}, or "
        "name their folder as the target's client_bin_dir."
    )
