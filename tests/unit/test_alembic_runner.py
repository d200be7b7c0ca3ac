"""The runner's judgement of texts and revisions, which errs on the safe side only."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError, PendingRollbackError

from lockkeeper.alembic_project.outcome import Commits
from lockkeeper.alembic_project.runner import differences, history, statements
from lockkeeper.alembic_project.runner.failures import describe, sqlstate_of

RUNNER = Path(history.__file__).parent
ALLOWED = {"alembic", "sqlalchemy"}


@pytest.mark.parametrize("path", sorted(RUNNER.glob("*.py")), ids=lambda path: path.name)
def test_the_runner_needs_nothing_but_python_3_8_alembic_and_sqlalchemy(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {
        node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level
    }
    assert {name.partition(".")[0] for name in imported} <= ALLOWED | sys.stdlib_module_names


@pytest.mark.parametrize(
    ("statement", "ends"),
    [
        ("COMMIT", True),
        ("  commit;", True),
        ("UPDATE t SET a = 1; COMMIT; CREATE INDEX CONCURRENTLY i ON t (a)", True),
        ("END", True),
        ("ROLLBACK", True),
        ("PREPARE TRANSACTION 'x'", True),
        ("ROLLBACK TO SAVEPOINT s", False),
        ("ROLLBACK TRANSACTION TO s", False),
        ("COMMENT ON TABLE t IS 'COMMIT; COMMIT'", False),
        ("CREATE FUNCTION f() RETURNS void AS $$ BEGIN PERFORM 1; END; $$ LANGUAGE plpgsql", False),
        ("CREATE FUNCTION f() RETURNS void AS $x$ BEGIN; COMMIT; $x$ LANGUAGE plpgsql", False),
        ("-- COMMIT;\nSELECT 1", False),
        ("/* ;COMMIT */ SELECT 1", False),
    ],
)
def test_a_commit_sent_as_text_is_seen(statement: str, ends: bool) -> None:
    assert statements.ends_transaction(statement) is ends


@pytest.mark.parametrize(
    ("statement", "undone"),
    [
        ("ALTER TYPE mood ADD VALUE 'sad'", True),
        ("UPDATE t SET a = ';'", True),
        ("CREATE INDEX CONCURRENTLY i ON t (a)", False),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", False),
        ("VACUUM t", False),
        ("CALL p()", False),
        ("DO $$ BEGIN COMMIT; END $$", False),
        ("UPDATE t SET a = 1; UPDATE t SET a = 2", False),
    ],
)
def test_only_a_single_atomic_statement_leaves_nothing_when_it_fails(statement: str, undone: bool) -> None:
    assert statements.undone_on_error(statement) is undone


def test_statements_that_write_no_row_are_known() -> None:
    assert statements.writes_no_row("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)")
    assert statements.writes_no_row("ALTER TABLE t VALIDATE CONSTRAINT c")
    assert not statements.writes_no_row("SELECT fill_everything()")
    assert not statements.writes_no_row("DROP INDEX i; UPDATE t SET a = 1")
    assert statements.is_harmless("SET lock_timeout = 0")
    assert not statements.is_harmless("SET lock_timeout = 0; DELETE FROM t")


def revision(tmp_path: Path, upgrade: str, downgrade: str | None) -> SimpleNamespace:
    text = f"def upgrade():\n    {upgrade}\n"
    if downgrade is not None:
        text += f"def downgrade():\n    {downgrade}\n"
    path = tmp_path / f"r{abs(hash(text))}.py"
    path.write_text(text)
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    exec(compile(text, str(path), "exec"), module.__dict__)
    return SimpleNamespace(module=module)


@pytest.mark.parametrize(
    ("upgrade", "downgrade", "irreversible"),
    [
        ("op.x()", "op.y()", False),
        ("op.x()", "pass", True),
        ("op.x()", '"""Nothing to do here."""', True),
        ("op.x()", "...", True),
        ("op.x()", "return None", True),
        ("op.x()", "raise NotImplementedError", True),
        ("op.x()", "raise RuntimeError('no way back')", True),
        ("op.x()", None, True),
        ("pass", "pass", False),
        ("op.x()", "if op.a():\n        raise ValueError", False),
    ],
)
def test_a_revision_that_says_it_has_no_way_back_is_known(
    upgrade: str, downgrade: str | None, irreversible: bool, tmp_path: Path
) -> None:
    assert history.is_irreversible(revision(tmp_path, upgrade, downgrade)) is irreversible


def test_the_sqlstate_is_found_whatever_the_driver() -> None:
    class Psycopg2(Exception):
        pgcode = "55P03"

    class Asyncpg(Exception):
        sqlstate = "40001"

    outer = RuntimeError("wrapped")
    outer.__cause__ = Asyncpg()
    assert sqlstate_of(outer) == "40001"
    wrapped = RuntimeError("wrapped")
    wrapped.orig = Psycopg2()  # type: ignore[attr-defined]
    assert sqlstate_of(wrapped) == "55P03"
    assert sqlstate_of(Exception({"C": "23505", "M": "duplicate"})) == "23505"
    assert sqlstate_of(ValueError("none")) is None
    assert describe(NotImplementedError())["irreversible"]


def test_a_statement_that_undid_itself_is_not_held_against_the_revision() -> None:
    commits = Commits()
    commits({"event": "autocommit", "statement": "ALTER TYPE a"})
    assert commits.outside_transaction
    commits({"event": "autocommit_undone", "statement": "ALTER TYPE a"})
    assert not commits.outside_transaction
    commits({"event": "autocommit", "statement": "CREATE INDEX CONCURRENTLY i"})
    commits({"event": "autocommit_undone", "statement": "another"})
    assert commits.outside_transaction


def test_differences_that_are_not_known_by_name_are_told_all_the_same() -> None:
    assert list(differences.sentences(("swap_tables", "a", "b"))) == ["swap_tables a b"]
    nothing = ("modify_default", None, "t", "c", {}, None, "0")
    assert list(differences.sentences([nothing])) == [
        "column t.c: default is absent in the database and 0 in the models"
    ]


def test_what_a_revision_failed_of_is_told_and_not_what_its_cleaning_up_stumbled_over() -> None:
    stumbled = PendingRollbackError("Can't reconnect until invalid transaction is rolled back.")
    stumbled.__context__ = OperationalError("SELECT 1", {}, Exception("terminating connection"))
    facts = describe(stumbled)
    assert facts["type"] == "OperationalError"
    assert "terminating connection" in facts["message"]
    assert describe(PendingRollbackError("alone"))["message"] == "alone"
    assert describe(ValueError("of the project"))["message"] == "of the project"
