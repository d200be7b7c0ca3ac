"""Finds the client programs (pg_dump, pg_restore, ...) that fit a server.

pg_dump refuses a server newer than itself, and what pg_dump 17 and later write does not load into 16 and
earlier (``SET transaction_timeout``), so programs fit when they are not older than the server and on the
same side of 17. Of those that fit, the oldest are taken; the same programs dump and restore.
"""

from __future__ import annotations

import os
import re
import shutil
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from lockkeeper.errors import ConfigurationError, ProgramError
from lockkeeper.local.postgres_server import available_bin_dirs
from lockkeeper.process import run_program

PROGRAMS = ("pg_dump", "pg_restore", "pg_dumpall", "psql")
TRANSACTION_TIMEOUT_MAJOR = 17
_SYSTEM_FOLDERS = (("/usr/lib/postgresql", "*/bin"), ("/usr", "pgsql-*/bin"), ("/opt/homebrew/opt", "*/bin"))
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")


class ClientPrograms(NamedTuple):
    """Programs of one installation. ``version`` is what they say of themselves, e.g. ``16.14``."""

    pg_dump: Path
    pg_restore: Path
    pg_dumpall: Path
    psql: Path
    version: str

    @property
    def major(self) -> int:
        """The major version of the programs."""
        return int(re.match(r"\d+", self.version)[0])  # type: ignore[index]


def fits(client_major: int, server_major: int) -> bool:
    """Whether programs of ``client_major`` both dump a server of ``server_major`` and restore into it."""
    same_side = (client_major >= TRANSACTION_TIMEOUT_MAJOR) == (server_major >= TRANSACTION_TIMEOUT_MAJOR)
    return client_major >= server_major and same_side


@lru_cache(maxsize=64)
def client_programs_in(folder: Path) -> ClientPrograms | None:
    """Return the programs in ``folder``, or None when one of them is missing or does not run."""
    if not all((folder / name).exists() for name in PROGRAMS):
        return None
    versions = set()
    for name in PROGRAMS[:2]:
        try:
            answer = _VERSION.search(run_program([str(folder / name), "--version"], timeout_s=20))
        except ProgramError:
            return None
        versions.add(answer[1] + answer[2] if answer else None)
    version = versions.pop()
    if version is None or versions:  # no answer, or two different versions in one folder
        return None
    dump, restore, dumpall, psql = (folder / name for name in PROGRAMS)
    return ClientPrograms(dump, restore, dumpall, psql, version)


def program_folders() -> list[Path]:
    """Return the folders in which PostgreSQL's programs may be, the wheel's and Debian's first."""
    found = list(available_bin_dirs().values())
    for base, pattern in _SYSTEM_FOLDERS:
        found += sorted(Path(base).glob(pattern))
    on_path = shutil.which("pg_dump", path=os.environ.get("PATH", os.defpath))
    if on_path:
        found.append(Path(on_path).parent)
    return list(dict.fromkeys(found))


def find_client_programs(server_version_num: int, bin_dir: Path | None = None) -> ClientPrograms:
    """Return the installed programs that fit a server; they have been run once.

    Args:
        server_version_num: as ``SHOW server_version_num`` says, e.g. 160014.
        bin_dir: look here and nowhere else.

    Raises:
        ConfigurationError: there are none; the message says what to install.
    """
    server_major = server_version_num // 10000
    folders = [bin_dir] if bin_dir else program_folders()
    installed = [programs for folder in folders if (programs := client_programs_in(folder))]
    fitting = [programs for programs in installed if fits(programs.major, server_major)]
    if fitting:
        return min(fitting, key=lambda programs: programs.major)
    seen = ", ".join(f"{p.version} in {p.pg_dump.parent}" for p in installed) or "none"
    where = f"client_bin_dir {str(bin_dir)!r} has" if bin_dir else "this machine has"
    raise ConfigurationError(
        f"No client programs for PostgreSQL {server_major}: {where} {seen}. Install "
        f"postgresql-client-{server_major} (or: pip install 'lockkeeper[local]'), "
        "or name their folder as the target's client_bin_dir."
    )
