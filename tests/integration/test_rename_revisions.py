"""A rename as the two revisions that `lockkeeper rename scaffold` has written: up, down and up again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from sqlalchemy.engine import URL

from lockkeeper.alembic_project import AlembicSession
from lockkeeper.config import AlembicSettings
from lockkeeper.postgres.connection import connect, execute, fetch_all
from lockkeeper.rename import ColumnChange
from lockkeeper.rename.engine import ColumnRename, list_changes
from tests.integration.conftest import MakeProject

LOCKKEEPER = str(Path(sys.executable).with_name("lockkeeper"))
RENAME = ("products", "description", "text_new")


def columns(url: URL) -> set[str]:
    query = "SELECT column_name FROM information_schema.columns WHERE table_name = 'products'"
    with connect(url, "tests") as connection:
        return {name for (name,) in fetch_all(connection, query)}


def scaffold(settings: AlembicSettings) -> list[str]:
    argv = [
        LOCKKEEPER,
        "rename",
        "scaffold",
        "shop",
        *RENAME,
        "--alembic",
        str(settings.config_file),
        "--json",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr + done.stdout
    return [one["id"] for one in json.loads(done.stdout)["revisions"]]


def test_the_scaffolded_pair_goes_up_down_and_up_and_keeps_every_write(
    database: URL, project: MakeProject
) -> None:
    settings = project("demo")
    with AlembicSession(settings, database, role="migrate", run_id="first") as session:
        session.upgrade(session.plan("000"))
    with connect(database, "tests") as connection:
        insert = "INSERT INTO products (sku, name, price_cents, description) VALUES ('a', 'n', 1, 'first')"
        execute(connection, insert)
    for later in (settings.folder / "versions").glob("00[12]*.py"):
        later.unlink()
    expand, contract = scaffold(settings)
    with AlembicSession(settings, database, role="migrate", run_id="pair") as session:
        session.upgrade(session.plan("head"))
        assert session.current() == (contract,)
        assert "description" not in columns(database)
        with connect(database, "tests") as connection:
            execute(connection, "UPDATE products SET text_new = 'second'")
        session.downgrade((expand,))
        assert {"description", "text_new"} <= columns(database)
        session.downgrade(("000",))
        assert "text_new" not in columns(database)
        with connect(database, "tests") as connection:
            assert fetch_all(connection, "SELECT description FROM products") == [("second",)]
        session.upgrade(session.plan(expand))
    ColumnRename(database, ColumnChange(*RENAME)).validate()
    with AlembicSession(settings, database, role="migrate", run_id="again") as session:
        session.upgrade(session.plan("head"))
    assert [change.stage.value for change in list_changes(database)] == ["contracted", "aborted"]
