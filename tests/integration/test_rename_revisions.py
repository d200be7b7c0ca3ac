"""A rename as the two revisions that `lockkeeper rename scaffold` has written: up, down and up again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy.engine import URL

from lockkeeper.alembic_project import AlembicSession
from lockkeeper.config import AlembicSettings, LocalStorageSettings, Target
from lockkeeper.lint import lint_project
from lockkeeper.models import Check
from lockkeeper.postgres.connection import connect, execute, fetch_all
from lockkeeper.preflight import run_preflight
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


def test_an_expand_and_its_contract_are_not_applied_in_one_go_where_an_application_is(
    database: URL, project: MakeProject, tmp_path: Path
) -> None:
    settings = project("demo")
    with AlembicSession(settings, database, role="migrate", run_id="first") as session:
        session.upgrade(session.plan("000"))
    for later in (settings.folder / "versions").glob("00[12]*.py"):
        later.unlink()
    expand, contract = scaffold(settings)
    target = Target(
        name="shop",
        database_url=SecretStr(database.render_as_string(hide_password=False)),
        storage=LocalStorageSettings(path=tmp_path),
        alembic=settings,
    )

    def renames(revision: str) -> list[Check]:
        checks = run_preflight(target, revision, run_id="tests", lock_is_ours=False)[1]
        return [check for check in checks if check.name == "renames"]

    (refusal,) = renames("head")
    assert refusal.refuses
    assert f"lockkeeper migrate shop {expand}; deploy the application" in refusal.message
    assert f"then lockkeeper migrate shop {contract}" in refusal.message
    assert renames(expand) == []
    report = lint_project(settings, database)
    assert [each.revision for each in report.findings if each.rule == "rename-in-one-go"] == [contract]

    rename = ColumnRename(database, ColumnChange(*RENAME))
    for step in (rename.expand, rename.backfill, rename.validate):
        step()
    assert [check.refuses for check in renames("head")] == [True], "nobody has approved anything yet"
    with connect(database, "tests") as connection:
        execute(connection, "CREATE SCHEMA twin; CREATE TABLE twin.products (description text)")
    twin = ColumnRename(database, ColumnChange("twin.products", *RENAME[1:]))
    for step in (twin.expand, twin.backfill, twin.validate, twin.flip):
        step()
    assert [check.refuses for check in renames("head")] == [True], "another table's approval is none"
    rename.flip()
    assert renames("head") == [], "done by the commands, and approved"


def test_a_new_database_may_get_an_expand_and_its_contract_in_one_go(
    database: URL, project: MakeProject
) -> None:
    report = lint_project(project("demo"), database)
    assert [each for each in report.findings if "rename" in each.rule + each.message] == []
