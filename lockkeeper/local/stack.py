"""The embedded stack: PostgreSQL, an S3 server, Prefect with a worker, all under one folder.

Starting it twice keeps what runs and replaces what does not. What runs is known from ``stack.json``
(readable by its owner only, since it holds the passwords) and only those very processes are ever ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, Field, ValidationError
from sqlalchemy.engine import URL

from lockkeeper.config import S3StorageSettings
from lockkeeper.errors import ConfigurationError, ProgramError, RefusedError
from lockkeeper.local import daemons
from lockkeeper.local.daemons import ProcessIdentity
from lockkeeper.local.postgres_server import EmbeddedPostgres, reachable, server_user
from lockkeeper.local.prefect_server import DEFAULT_PORT as PREFECT_PORT
from lockkeeper.local.prefect_server import EmbeddedPrefect, prefect_is_installed
from lockkeeper.local.s3_server import DEFAULT_BUCKET, EmbeddedS3

DEFAULT_FOLDER = Path(".lockkeeper")
POSTGRES_PORT, S3_PORT = 54320, 54390
_PORT_ATTEMPTS = 3
_ENDING_ORDER = ("worker", "prefect", "s3", "postgres")

Progress = Callable[[str], None]
T = TypeVar("T")


class StackState(BaseModel):
    """Where the stack's servers are and how to log in. Holds secrets: never print it."""

    folder: Path
    postgres_data: Path
    postgres_major: int = 16
    postgres_port: int = POSTGRES_PORT
    postgres_password: str = Field(repr=False)
    s3_port: int = S3_PORT
    s3_access_key_id: str = Field(repr=False)
    s3_secret_access_key: str = Field(repr=False)
    prefect_port: int = PREFECT_PORT
    processes: dict[str, ProcessIdentity] = Field(default_factory=dict)

    def postgres(self) -> EmbeddedPostgres:
        """Return the PostgreSQL server."""
        return EmbeddedPostgres(
            self.postgres_data,
            major=self.postgres_major,
            port=self.postgres_port,
            password=self.postgres_password,
        )

    def s3(self) -> EmbeddedS3:
        """Return the S3 server."""
        server = EmbeddedS3(
            self.folder / "s3",
            port=self.s3_port,
            access_key_id=self.s3_access_key_id,
            secret_access_key=self.s3_secret_access_key,
        )
        server.process = self.processes.get("s3")
        return server

    def prefect(self) -> EmbeddedPrefect:
        """Return the Prefect server and its worker; raises ConfigurationError where Prefect is missing."""
        server = EmbeddedPrefect(self.folder / "prefect", port=self.prefect_port)
        server.server, server.worker = self.processes.get("prefect"), self.processes.get("worker")
        return server

    def database_url(self, database: str = "postgres") -> URL:
        """Return the superuser's URL of a database."""
        return self.postgres().url(database)

    def storage(self, bucket: str = DEFAULT_BUCKET, prefix: str = "") -> S3StorageSettings:
        """Return the settings of a bucket, which is made when there is none."""
        return self.s3().settings(bucket, prefix)

    @property
    def ui_url(self) -> str:
        """Where Prefect's UI is."""
        return f"http://127.0.0.1:{self.prefect_port}"

    def running(self) -> dict[str, bool]:
        """Say of each server that was started whether it runs."""
        return {
            name: daemons.is_running(self.processes[name])
            for name in reversed(_ENDING_ORDER)
            if name in self.processes
        }

    def save(self) -> None:
        """Write the state file, in one piece and for its owner only."""
        target = _state_file(self.folder)
        partial = target.with_suffix(".new")
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)
        partial.write_text(self.model_dump_json(indent=2))
        partial.replace(target)


def load_stack(folder: Path = DEFAULT_FOLDER) -> StackState:
    """Return the stack of ``folder``, running or not.

    Raises:
        ConfigurationError: there is none, or its state file cannot be read.
    """
    file = _state_file(folder.resolve())
    try:
        return StackState.model_validate_json(file.read_text())
    except FileNotFoundError as error:
        raise ConfigurationError(f"No embedded stack in {folder}. Start it with: lockkeeper up") from error
    except (OSError, ValidationError) as error:
        raise ConfigurationError(
            f"{file} cannot be read ({type(error).__name__}): remove {folder}."
        ) from None


def start_stack(
    folder: Path = DEFAULT_FOLDER,
    *,
    prefect: bool | None = None,
    working_dir: Path | None = None,
    progress: Progress = lambda _line: None,
) -> StackState:
    """Start what does not run yet and return when everything answers; keeps data, passwords and ports.

    Args:
        folder: where all of it lives; made when missing.
        prefect: with Prefect or without; default is with it when it is installed.
        working_dir: folder that flows run in by default; default is the present one.
        progress: is told one line for each server.

    Raises:
        ProgramError: a server did not start; those started by this call were ended again.
        RefusedError: another process starts or stops this stack right now.
    """
    with _exclusive(folder.resolve()) as stack_folder:
        state = _existing_or_new(stack_folder)
        kept = {name for name, runs in state.running().items() if runs}
        try:
            _start_servers(state, kept, prefect_is_installed() if prefect is None else prefect,
                           working_dir or Path.cwd(), progress)  # fmt: skip
        except BaseException:
            _end(state, [name for name in _ENDING_ORDER if name not in kept])
            raise
        return state


def stop_stack(folder: Path = DEFAULT_FOLDER) -> list[str]:
    """End the stack's own processes and keep its data; returns the names of those that ran.

    Raises:
        ConfigurationError: there is no stack in ``folder``.
    """
    load_stack(folder)
    with _exclusive(folder.resolve()) as stack_folder:
        return _end(load_stack(stack_folder), _ENDING_ORDER)


def _state_file(folder: Path) -> Path:
    return folder / "stack.json"


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[Path]:
    """One process at a time works on a stack; the lock dies with it."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)  # PostgreSQL's own user passes through, nobody else can list it
    descriptor = os.open(folder / "stack.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    except BlockingIOError as error:
        raise RefusedError(f"Another process starts or stops the stack in {folder}. Try again.") from error
    finally:
        os.close(descriptor)


def _existing_or_new(folder: Path) -> StackState:
    if _state_file(folder).exists():
        return load_stack(folder)
    return StackState(
        folder=folder,
        postgres_data=_postgres_data(folder),
        postgres_password=secrets.token_urlsafe(16),
        s3_access_key_id=f"lk{secrets.token_hex(9)}",
        s3_secret_access_key=secrets.token_hex(20),
    )


def _postgres_data(folder: Path) -> Path:
    """Return where the cluster goes: in ``folder``, unless PostgreSQL's own user cannot get there."""
    user = server_user()
    if user is not None and not reachable(folder, user):
        elsewhere = Path(tempfile.mkdtemp(prefix="lockkeeper-", dir="/var/tmp"))
        elsewhere.chmod(0o711)
        return elsewhere / "postgresql"
    return folder / "postgresql"


def _start_servers(
    state: StackState, kept: set[str], with_prefect: bool, working_dir: Path, progress: Progress
) -> None:
    """Start in the order that wastes least time: Prefect's server takes longest and is waited for last."""
    if with_prefect and "prefect" not in kept:
        _end(state, ["worker"])  # it would go on asking the old port
        kept.discard("worker")
        _start_prefect(state)
    if "postgres" not in kept:
        _on_free_port(lambda port: _start_postgres(state, port), state.postgres_port)
    progress(f"PostgreSQL {state.postgres_major} on port {state.postgres_port}")
    if "s3" not in kept:
        _on_free_port(lambda port: _start_s3(state, port), state.s3_port)
    progress(f"S3 server on port {state.s3_port}")
    if with_prefect:
        prefect = state.prefect()
        prefect.wait_until_ready()
        progress(f"Prefect at {state.ui_url}")
        if "worker" not in kept:
            prefect.start_worker(working_dir)
            _remember(state, "worker", prefect.worker)
        progress(f"Worker of the pool {prefect.pool!r}")


def _start_prefect(state: StackState) -> None:
    state.prefect_port = daemons.choose_port(state.prefect_port, PREFECT_PORT)
    prefect = state.prefect()
    prefect.start_server()
    _remember(state, "prefect", prefect.server)


def _start_postgres(state: StackState, port: int) -> None:
    state.postgres_port = port
    server = state.postgres()
    if server.pid is not None:
        server.stop()  # of a lost state file, or on a port that is no longer ours
    server.start()
    _remember(state, "postgres", server.process)


def _start_s3(state: StackState, port: int) -> None:
    state.s3_port = port
    server = state.s3()
    server.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    server.start()
    _remember(state, "s3", server.process)


def _on_free_port(start: Callable[[int], T], wish: int) -> T:
    """Start on the wished port or another; once more when somebody took the port in between."""
    for attempt in range(1, _PORT_ATTEMPTS + 1):
        port = daemons.choose_port(wish)
        try:
            return start(port)
        except (ProgramError, ConfigurationError):
            if attempt == _PORT_ATTEMPTS or daemons.port_is_free(port):
                raise
    raise ConfigurationError("no attempt was made")  # pragma: no cover


def _remember(state: StackState, name: str, process: ProcessIdentity | None) -> None:
    if process is not None:
        state.processes[name] = process
        state.save()


def _end(state: StackState, names: tuple[str, ...] | list[str]) -> list[str]:
    """End these processes in order, if they are still those that were started; returns what ran."""
    ended = []
    for name in names:
        process = state.processes.pop(name, None)
        if not daemons.is_running(process):
            continue
        if name == "postgres":
            state.postgres().stop()
        else:
            daemons.end_process(process, grace_s=30)
        ended.append(name)
    state.save()
    return ended
