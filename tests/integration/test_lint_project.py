"""Alembic projects linted as users have them, with and without a database, and by the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy.engine import URL

from lockkeeper import offline_lint
from lockkeeper.cli.main import run
from lockkeeper.config import AlembicSettings, LocalStorageSettings, Target
from lockkeeper.lint import LintReport, Severity, SqlStatement, lint_project
from lockkeeper.models import CheckState
from lockkeeper.postgres.connection import connect, execute, fetch_all
from lockkeeper.preflight import run_preflight

DEMO = Path(__file__).parents[2] / "migrations" / "alembic.ini"
ENV = """
from alembic import context
from sqlalchemy import create_engine

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    engine = create_engine(context.config.get_main_option("sqlalchemy.url"))
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""
REVISION = '''"""{revision}"""
from alembic import op
import sqlalchemy as sa

revision = "{revision}"
down_revision = {down!r}


def upgrade():
    {body}


def downgrade():
    pass
'''
CREATE = (
    'op.create_table("users", sa.Column("id", sa.BigInteger, primary_key=True), '
    'sa.Column("name", sa.String(20)))'
)
# The migration of the incident, as its source had it.
STATUS = """op.add_column("users", sa.Column("status", sa.String(20), nullable=True))
    op.execute("UPDATE users SET status = 'active' WHERE status IS NULL")
    op.alter_column("users", "status", nullable=False)
    op.create_index("idx_users_status", "users", ["status"])"""
DYNAMIC = """names = [row[0] for row in op.get_bind().execute(sa.text("SELECT 'users'"))]
    op.execute(f"ALTER TABLE {names[0]} ALTER COLUMN name SET NOT NULL")"""
CONCURRENTLY = """with op.get_context().autocommit_block():
        op.create_index("i", "users", ["name"], postgresql_concurrently=True)"""


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., AlembicSettings]:
    """Return a function: bodies of upgrade() -> an Alembic project with a revision for each."""

    def make(*bodies: str) -> AlembicSettings:
        versions = tmp_path / "alembic" / "versions"
        versions.mkdir(parents=True)
        (tmp_path / "alembic" / "env.py").write_text(ENV)
        (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = alembic\nsqlalchemy.url =\n")
        for number, body in enumerate(bodies, 1):
            down = f"r{number - 1}" if number > 1 else None
            text = REVISION.format(revision=f"r{number}", down=down, body=body)
            (versions / f"r{number}.py").write_text(text)
        return AlembicSettings(config_file=tmp_path / "alembic.ini")

    return make


def rules(report: LintReport) -> list[tuple[str | None, str]]:
    return [(one.revision, one.rule) for one in report.findings]


def test_the_incidents_migration_is_refused_before_anything_runs(
    project: Callable[..., AlembicSettings], database: URL
) -> None:
    report = lint_project(project(CREATE, STATUS), database)

    assert rules(report) == [
        ("r2", "write-with-ddl"),
        ("r2", "set-not-null-without-check"),
        ("r2", "index-without-concurrently"),
    ]
    assert report.exit_code == 1
    assert report.revisions == ("r1", "r2")


def test_the_demos_own_migration_of_the_same_column_is_clean(database: URL) -> None:
    report = lint_project(AlembicSettings(config_file=DEMO), database)

    assert [one for one in report.findings if one.counts and (one.revision or "") < "002"] == []
    assert {"001", "001b", "001c"} <= set(report.revisions)


def test_only_what_is_pending_is_linted_unless_asked(
    project: Callable[..., AlembicSettings], database: URL
) -> None:
    settings = project(CREATE, STATUS, CONCURRENTLY)
    assert lint_project(settings, database, since=["r2"]).findings == ()
    assert lint_project(settings, database, destination="r1").revisions == ("r1",)


def test_a_revision_that_asks_the_database_is_not_passed_unless_its_statements_were_recorded(
    project: Callable[..., AlembicSettings], database: URL
) -> None:
    settings = project(CREATE, DYNAMIC)
    report = lint_project(settings, database)
    assert [(one.revision, one.severity) for one in report.findings] == [("r2", Severity.UNKNOWN)]
    assert report.exit_code == 2

    recorded = {"r2": [SqlStatement(text="ALTER TABLE users ALTER COLUMN name SET NOT NULL")]}
    report = lint_project(settings, database, recorded=recorded)
    assert rules(report) == [("r2", "set-not-null-without-check")]


def test_an_exemption_in_the_revisions_source_is_honoured(
    project: Callable[..., AlembicSettings], database: URL
) -> None:
    comment = "# lockkeeper: allow index-without-concurrently because it is loaded once, at night\n    "
    report = lint_project(project(CREATE, comment + 'op.create_index("i", "users", ["name"])'), database)

    (found,) = report.findings
    assert found.allowed_because == "it is loaded once, at night"
    assert report.exit_code == 0


def test_what_the_database_holds_decides_what_is_harmless(
    project: Callable[..., AlembicSettings], database: URL
) -> None:
    widen = 'op.alter_column("users", "name", type_=sa.String(50))'
    settings = project(CREATE, widen, 'op.create_index("i", "settings", ["v"])')
    with connect(database, "tests") as connection:
        execute(connection, "CREATE TABLE settings (v int); CREATE TABLE users (id int, name varchar(20))")
        execute(connection, "INSERT INTO users SELECT n, 'x' FROM generate_series(1, 50000) AS n")
    assert lint_project(settings, database, since=["r1"]).findings == ()

    with connect(database, "tests") as connection:
        execute(connection, "ALTER TABLE users ALTER COLUMN name TYPE varchar(90)")
        execute(
            connection, "INSERT INTO settings SELECT generate_series(1, 50000)"
        )  # statistics know nothing yet
    assert rules(lint_project(settings, database, since=["r1"])) == [
        ("r2", "column-type-change"),
        ("r3", "index-without-concurrently"),
    ]


def test_the_command_line_lints_a_project_without_any_database(
    project: Callable[..., AlembicSettings], capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(project(CREATE, STATUS).config_file)
    code = run(["lint", "--alembic", config, "--json"])
    document = json.loads(capsys.readouterr().out)

    assert code == document["exit_code"] == 1
    assert (document["outcome"], document["errors"], document["unknown"]) == ("findings", 3, 0)
    assert {one["rule"] for one in document["findings"]} >= {"set-not-null-without-check"}


def test_the_command_line_lints_files_and_says_the_safe_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good = tmp_path / "bad.sql", tmp_path / "good.sql"
    bad.write_text('CREATE INDEX "Idx" ON "Users" (name);')
    good.write_text("CREATE INDEX CONCURRENTLY i ON users (name);")

    assert run(["lint", "--sql", str(good)]) == 0
    assert run(["lint", "--sql", str(good), "--in-transaction"]) == 1
    capsys.readouterr()
    assert run(["lint", "--sql", str(bad)]) == 1
    assert 'CREATE INDEX CONCURRENTLY "Idx" ON "Users"' in capsys.readouterr().out
    bad.write_text("SELEC 1")
    assert run(["lint", "--sql", str(bad)]) == 2
    assert run(["lint", "--sql", str(tmp_path / "none.sql")]) == 2


def test_preflight_shows_what_the_lint_finds_before_anything_runs_and_refuses_for_none_of_it(
    project: Callable[..., AlembicSettings], database: URL, tmp_path: Path
) -> None:
    drop = "# lockkeeper: allow drop-column because nobody reads it\n    op.drop_column('users', 'name')"
    by_itself = (
        f"import psycopg2; own = psycopg2.connect({database.render_as_string(hide_password=False)!r}); "
        "own.cursor().execute('CREATE TABLE by_itself (id int)'); own.commit()"
    )
    settings = project(CREATE, DYNAMIC, STATUS, drop, by_itself)
    target = Target(
        name="shop",
        database_url=SecretStr(database.render_as_string(hide_password=False)),
        storage=LocalStorageSettings(path=tmp_path / "storage"),
        alembic=settings,
    )
    plan, checks, lint, _ = run_preflight(target, "head", run_id="tests", lock_is_ours=False)
    assert plan is not None
    found = {
        check.message.split(":")[0] + check.message.split(":")[1]: check
        for check in checks
        if check.name == "lint"
    }
    for unread in ("r2", "r5"):
        assert found[f"{unread} not linted before the rehearsal"].state is CheckState.WARNING
    index = found["r3 index-without-concurrently"]
    assert (index.state, "CREATE INDEX CONCURRENTLY" in index.message) == (CheckState.WARNING, True)
    assert found["r4 allowed, nobody reads it"].state is CheckState.OK
    assert lint.report is not None
    with connect(database, "tests") as connection:
        assert fetch_all(connection, "SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []


def test_a_revision_whose_python_does_not_end_costs_the_preflight_a_warning_and_bounded_time(
    project: Callable[..., AlembicSettings], database: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline_lint, "OFFLINE_TIMEOUT_S", 0.5)
    settings = project(CREATE, "import time; time.sleep(600)")
    plan, script = offline_lint.read_project(settings, database, "head", "tests")
    assert [step.id for step in plan.steps] == ["r1", "r2"]
    lint = offline_lint.lint_offline(database, plan, script, "tests")
    (check,) = offline_lint.lint_checks(lint, "full")
    assert check.state is CheckState.WARNING
    assert check.message.startswith("not linted before the rehearsal: Alembic's offline mode: ")
