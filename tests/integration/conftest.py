"""Alembic projects for the tests: unchanged copies of tests/projects and of the demo; and small databases."""

from __future__ import annotations

import shutil
import textwrap
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy.engine import URL

from lockkeeper.config import AlembicSettings, LocalStorageSettings, Policies, StorageSettings, Target
from lockkeeper.home import HOME_VARIABLE
from lockkeeper.local.postgres_server import EmbeddedPostgres, temporary_postgres
from lockkeeper.postgres.connection import connect, execute, libpq_environment
from lockkeeper.process import run_program
from lockkeeper.recovery.capture import find_captures
from lockkeeper.recovery.replay import open_replay
from tests.integration.capture_story import SHOP
from tests.integration.captured import Line, captured_line, run
from tests.integration.planting import PLANTED_SETTINGS, set_system
from tests.integration.restorable import SMALL, drop_leftovers, fill

PROJECTS = Path(__file__).parents[1] / "projects"
DEMO = Path(__file__).parents[2] / "migrations"

MakeProject = Callable[..., AlembicSettings]
ENV_PY = """
import os
from alembic import context
from sqlalchemy import create_engine, pool

with create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""


@pytest.fixture
def project(tmp_path: Path) -> MakeProject:
    """Return a function: name of a project (and settings) -> settings of a copy of it."""

    def make(name: str, **settings: Any) -> AlembicSettings:
        source = DEMO if name == "demo" else PROJECTS / name
        folder = tmp_path / name
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        return AlembicSettings(config_file=folder / "alembic.ini", **settings)

    return make


@pytest.fixture
def make_target(tmp_path: Path) -> Callable[..., Target]:
    """Return a function: URL (storage, policies) -> target; its storage is a folder unless told otherwise."""

    def make(url: URL, storage: StorageSettings | None = None, **changes: Any) -> Target:
        policies = Policies(**changes.pop("policies", {}))
        return Target(
            name="shop",
            database_url=SecretStr(url.render_as_string(hide_password=False)),
            storage=storage or LocalStorageSettings(path=tmp_path / "storage"),
            policies=policies,
            **changes,
        )

    return make


@pytest.fixture
def only_the_stairway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the one go, which costs a process: test_one_go.py and test_projects.py are about it."""
    monkeypatch.setattr("lockkeeper.proving.migration_test.LEAST_STEPS", 1000)


@pytest.fixture
def write(tmp_path: Path):
    """Return a function: (up, down) in SQL for each revision, and lines for the ini -> settings."""

    def make(*revisions: tuple[str, ...], ini: str = "") -> AlembicSettings:
        versions = tmp_path / "made" / "scripts" / "versions"
        versions.mkdir(parents=True)
        (tmp_path / "made" / "alembic.ini").write_text(
            f"[alembic]\nscript_location = %(here)s/scripts\n{ini}"
        )
        (versions.parent / "env.py").write_text(ENV_PY)
        for number, (up, down, *attributes) in enumerate(revisions, 1):
            body = f"""
                from alembic import op
                revision = "r{number}"
                down_revision = {f"r{number - 1}" if number > 1 else None!r}
                {attributes[0] if attributes else ""}
                def upgrade():
                    op.execute({up!r})
                def downgrade():
                    {"raise NotImplementedError" if down is None else f"op.execute({down!r})"}
                """
            (versions / f"r{number}.py").write_text(textwrap.dedent(body))
        return AlembicSettings(config_file=tmp_path / "made" / "alembic.ini")

    return make


@pytest.fixture
def restorable(database: URL, make_target: Callable[..., Target]) -> Iterator[Target]:
    """The shop of ``restorable``, with what backup and restore need; its leftovers are dropped."""
    target = fill(make_target(database))
    yield target
    drop_leftovers(target)


@pytest.fixture
def small(database: URL, make_target: Callable[..., Target]) -> Target:
    """One table and a version table, with what a backup of it needs."""
    return fill(make_target(database), SMALL)


@pytest.fixture(scope="session")
def watched_server(server_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server for what the monitor must tell of: what is planted is often the server's, not a database's."""
    with temporary_postgres(server_folder / "planted", settings=PLANTED_SETTINGS) as server:
        set_system(server.url(), "archive_command", "true")
        yield server


@pytest.fixture(scope="module")
def replica(watched_server: EmbeddedPostgres, server_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A real stand-by of that server."""
    data_dir = server_folder / "planted-replica"
    data_dir.mkdir(mode=0o700)
    if watched_server.user:
        shutil.chown(data_dir, watched_server.user)
    argv = [
        str(watched_server.bin_dir / "pg_basebackup"), "--pgdata", str(data_dir), "--write-recovery-conf",
        "--checkpoint", "fast", "--wal-method", "stream",
    ]  # fmt: skip
    environment = {**libpq_environment(watched_server.url()), "PATH": "/usr/bin:/bin"}
    run_program(argv, env=environment, user=watched_server.user, cwd=Path("/"), timeout_s=120)
    standby = EmbeddedPostgres(data_dir, password=watched_server.password, settings=PLANTED_SETTINGS)
    standby.start()
    yield standby
    standby.destroy()


@pytest.fixture
def watched_database(watched_server: EmbeddedPostgres, make_database: Callable[..., URL]) -> URL:
    """A database of its own on that server."""
    return make_database(watched_server)


@pytest.fixture
def line_on(make_database: Callable[..., URL], tmp_path: Path) -> Iterator[Callable[..., Line]]:
    """Return a function: server, schema -> a line whose source has that schema."""
    contexts = []

    def make(server: EmbeddedPostgres, *schema: str, marks: str = "origin") -> Line:
        source = make_database(server)
        run(source, *schema)
        name = f"copy_{uuid.uuid4().hex[:8]}"
        context = captured_line(server.url(), source, name, tmp_path / name, marks=marks)
        contexts.append(context)
        return context.__enter__()

    yield make
    for context in reversed(contexts):
        context.__exit__(None, None, None)


@pytest.fixture
def line(server: EmbeddedPostgres, line_on: Callable[..., Line]) -> Callable[..., Line]:
    """Return a function: schema -> a line on the default server."""
    return lambda *schema, **more: line_on(server, *schema, **more)


@pytest.fixture
def capture_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the test's own for captures."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))


@pytest.fixture
def store_on(
    make_database: Callable[..., URL], make_target: Callable[..., Target]
) -> Iterator[Callable[..., Target]]:
    """Return a function: server -> a store on it; every capture of it is ended after the test."""
    made: list[Target] = []

    def make(server: EmbeddedPostgres) -> Target:
        url = make_database(server)
        run(url, SHOP)
        made.append(make_target(url))
        return made[-1]

    yield make
    for target in made:
        for capture in find_captures(target):
            replay = open_replay(target, capture)
            if replay is not None:
                replay.stop()
                with connect(target.maintenance_url, "tests") as connection:
                    execute(connection, f"DROP DATABASE IF EXISTS {replay.copy_url.database} WITH (FORCE)")
            capture.end(target, "the test is over")


@pytest.fixture
def store(server: EmbeddedPostgres, store_on: Callable[..., Target]) -> Target:
    """A store on the default server, for captures."""
    return store_on(server)
