"""Real servers for the tests: one PostgreSQL per major version and session, a fresh database per test."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg2 import sql
from sqlalchemy.engine import URL
from webhook_receiver import BrokenReceiver, Receiver

from lockkeeper.errors import ConnectionLostError
from lockkeeper.local.postgres_server import EmbeddedPostgres, available_bin_dirs, temporary_postgres
from lockkeeper.local.s3_server import EmbeddedS3, temporary_s3
from lockkeeper.postgres.connection import connect, execute

DEFAULT_MAJOR = 16
MAJORS = sorted(major for major in available_bin_dirs() if major >= 14)


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder that the server's own user can reach (pytest's tmp_path is closed to others)."""
    folder = Path(tempfile.mkdtemp(prefix="lockkeeper-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def servers(server_folder: Path) -> Iterator[Callable[[int], EmbeddedPostgres]]:
    """Return a function: major version -> running server, started at first use."""
    running: dict[int, EmbeddedPostgres] = {}
    contexts = []

    def get(major: int) -> EmbeddedPostgres:
        if major not in running:
            context = temporary_postgres(server_folder, major=major)
            running[major] = context.__enter__()
            contexts.append(context)
        return running[major]

    yield get
    for context in contexts:
        context.__exit__(None, None, None)


@pytest.fixture
def server(servers: Callable[[int], EmbeddedPostgres]) -> EmbeddedPostgres:
    """The default server (PostgreSQL 16)."""
    return servers(DEFAULT_MAJOR)


@pytest.fixture(params=MAJORS, ids=lambda major: f"pg{major}")
def every_server(
    request: pytest.FixtureRequest, servers: Callable[[int], EmbeddedPostgres]
) -> EmbeddedPostgres:
    """Each major version that this machine has, one after the other."""
    return servers(request.param)


@pytest.fixture
def make_database() -> Iterator[Callable[..., URL]]:
    """Return a function: server (and name) -> URL of a new empty database, dropped after the test."""
    made: list[tuple[URL, str]] = []

    def make(server: EmbeddedPostgres, name: str | None = None) -> URL:
        name = name or f"test_{uuid.uuid4().hex[:12]}"
        with connect(server.url(), "tests") as connection:
            execute(connection, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        made.append((server.url(), name))
        return server.url(name)

    yield make
    for url, name in made:
        # A server of the test's own may be gone already, and its databases with it.
        with contextlib.suppress(ConnectionLostError), connect(url, "tests") as connection:
            statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            execute(connection, statement)


@pytest.fixture
def database(server: EmbeddedPostgres, make_database: Callable[..., URL]) -> URL:
    """A fresh empty database on the default server."""
    return make_database(server)


@pytest.fixture(scope="session")
def s3(server_folder: Path) -> Iterator[EmbeddedS3]:
    """A running S3 server; make a bucket of your own with ``s3.settings("my-bucket")``."""
    with temporary_s3(server_folder) as server:
        yield server


@pytest.fixture
def webhook() -> Iterator[Callable[..., Receiver]]:
    """Return a function: HTTP statuses in turn -> a webhook of Slack's kind on the loopback address."""
    started: list[Receiver] = []

    def start(*statuses: int) -> Receiver:
        receiver = Receiver(list(statuses))
        threading.Thread(target=receiver.serve_forever, args=(0.01,), daemon=True).start()
        started.append(receiver)
        return receiver

    yield start
    for receiver in started:
        receiver.closing.set()
        receiver.shutdown()
        receiver.server_close()


@pytest.fixture
def broken_webhook() -> Iterator[Callable[[bytes], BrokenReceiver]]:
    """Return a function: what is answered -> a webhook that closes the connection behind it."""
    started: list[BrokenReceiver] = []

    def start(answer: bytes) -> BrokenReceiver:
        receiver = BrokenReceiver(answer)
        threading.Thread(target=receiver.serve_forever, args=(0.01,), daemon=True).start()
        started.append(receiver)
        return receiver

    yield start
    for receiver in started:
        receiver.shutdown()
        receiver.server_close()
