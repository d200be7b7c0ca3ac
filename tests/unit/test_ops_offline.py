"""The SQL that online operations write in offline mode, word for word; and what needs no database."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from lockkeeper.online import ddl
from lockkeeper.ops import LockPolicy, NotOnlineError


@pytest.fixture
def written() -> Callable[[Callable[[Operations], None]], str]:
    """Return a function: operations -> the SQL between Alembic's BEGIN and COMMIT, and around them."""

    def write(migrate: Callable[[Operations], None], dialect: str = "postgresql") -> str:
        output = io.StringIO()
        context = MigrationContext.configure(
            dialect_name=dialect, opts={"as_sql": True, "output_buffer": output}
        )
        migrate(Operations(context))
        return output.getvalue().strip()

    return write


Write = Callable[[Callable[[Operations], None]], str]


def short(*statements: str) -> str:
    body = "".join(f"      {statement};\n" for statement in statements)
    return f"""DO $lockkeeper$
BEGIN
  FOR attempt IN 1..100 LOOP
    BEGIN
      SET LOCAL lock_timeout = '50ms';
{body}      RETURN;
    EXCEPTION WHEN lock_not_available THEN
      PERFORM pg_sleep(random() * least(1, 0.025 * 2 ^ least(attempt - 1, 30)));
    END;
  END LOOP;
  RAISE lock_not_available USING MESSAGE = 'no lock in 100 attempts';
END $lockkeeper$;"""


def patient(statement: str) -> str:
    return f"SET lock_timeout = '300000ms';\n\n{statement};\n\nRESET lock_timeout;"


def committed(*parts: str) -> str:
    return "\n\n".join(("COMMIT;", *parts, "BEGIN;"))


def test_create_index(written: Write) -> None:
    sql = written(lambda op: op.create_index_online("ix", "Users", ["a", "b"], schema="s", unique=True))
    assert sql == committed(
        "-- If this is interrupted: DROP INDEX CONCURRENTLY IF EXISTS s.ix; then run it again.",
        patient('CREATE UNIQUE INDEX CONCURRENTLY ix ON s."Users" (a, b)'),
    )


def test_drop_index(written: Write) -> None:
    sql = written(lambda op: op.drop_index_online("ix", "users"))
    assert sql == committed(patient("DROP INDEX CONCURRENTLY IF EXISTS ix"))


def test_add_column_with_a_constant_default(written: Write) -> None:
    column = sa.Column("status", sa.String(20), nullable=False, server_default="active", comment="it's")
    assert written(lambda op: op.add_column_online("users", column)) == committed(
        short(
            "ALTER TABLE users ADD COLUMN IF NOT EXISTS status VARCHAR(20) DEFAULT 'active' NOT NULL",
            "COMMENT ON COLUMN users.status IS 'it''s'",
        )
    )


def test_add_column_with_another_default_is_staged(written: Write) -> None:
    column = sa.Column("token", sa.Uuid, nullable=False, server_default=sa.text("gen_random_uuid()"))
    sql = written(lambda op: op.add_column_online("users", column))
    stages = (
        "ADD COLUMN IF NOT EXISTS token UUID, ALTER COLUMN token SET DEFAULT gen_random_uuid();",
        "UPDATE users SET token = DEFAULT\n        WHERE ctid >= format('(%s,0)', first)::tid",
        "ADD CONSTRAINT token_not_null_lockkeeper CHECK (token IS NOT NULL) NOT VALID;",
        "VALIDATE CONSTRAINT token_not_null_lockkeeper;",
        "ALTER COLUMN token SET NOT NULL;",
        "DROP CONSTRAINT IF EXISTS token_not_null_lockkeeper;",
    )
    places = [sql.index(stage) for stage in stages]
    assert places == sorted(places)


def test_foreign_key_check_and_unique(written: Write) -> None:
    def migrate(op: Operations) -> None:
        op.add_foreign_key_online("fk", "a", "b", ["x"], ["id"], ondelete="CASCADE", source_schema="s")
        op.add_check_online("ck", "a", "x LIKE '100%:y'")
        op.add_unique_online("uq", "a", ["x"], deferrable=True)

    assert written(migrate) == "\n\n".join(
        [
            committed(
                short(
                    "ALTER TABLE s.a ADD CONSTRAINT fk FOREIGN KEY(x) REFERENCES b (id) "
                    "ON DELETE CASCADE NOT VALID"
                ),
                patient("ALTER TABLE s.a VALIDATE CONSTRAINT fk"),
            ),
            committed(
                short("ALTER TABLE a ADD CONSTRAINT ck CHECK (x LIKE '100%:y') NOT VALID"),
                patient("ALTER TABLE a VALIDATE CONSTRAINT ck"),
            ),
            committed(
                "-- If this is interrupted: DROP INDEX CONCURRENTLY IF EXISTS uq; then run it again.",
                patient("CREATE UNIQUE INDEX CONCURRENTLY uq ON a (x)"),
                short("ALTER TABLE a ADD CONSTRAINT uq UNIQUE USING INDEX uq DEFERRABLE"),
            ),
        ]
    )


def test_what_goes_away(written: Write) -> None:
    def migrate(op: Operations) -> None:
        op.drop_constraint_online("ck", "a", type_="check")
        op.drop_column_online("a", "select")
        op.drop_not_null_online("a", "x", schema="s")

    assert written(migrate) == "\n\n".join(
        [
            committed(short("ALTER TABLE a DROP CONSTRAINT IF EXISTS ck")),
            committed(short('ALTER TABLE a DROP COLUMN IF EXISTS "select"')),
            committed(short("ALTER TABLE s.a ALTER COLUMN x DROP NOT NULL")),
        ]
    )


def test_another_database_is_refused() -> None:
    opts = {"as_sql": True, "output_buffer": io.StringIO()}
    context = MigrationContext.configure(dialect_name="sqlite", opts=opts)
    with pytest.raises(NotOnlineError, match="needs PostgreSQL"):
        Operations(context).drop_index_online("ix")


def test_only_alembic_sqlalchemy_and_the_standard_library_are_imported() -> None:
    program = "import lockkeeper.ops, sys; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    ours = {"pydantic", "psycopg2", "psycopg", "asyncpg", "boto3", "rich", "typer", "zstandard", "prefect"}
    assert not ours & set(loaded.stdout.split())


@pytest.mark.parametrize("attempt", [1, 2, 5, 50, 10_000])
def test_pauses_are_random_and_bounded(attempt: int) -> None:
    policy = LockPolicy()
    pauses = {policy.delay_s(attempt) for _ in range(50)}
    assert len(pauses) > 1
    assert max(pauses) <= min(1.0, 0.025 * 2 ** min(attempt - 1, 20))


def test_a_policy_without_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="attempts must be positive"):
        LockPolicy(attempts=0)


def test_long_names_are_cut_and_stay_different() -> None:
    first, second = ddl.derived_name("ü" * 40, "a"), ddl.derived_name("ü" * 40, "b")
    assert first != second
    assert len(first.encode()) <= 63


@pytest.mark.parametrize(
    ("default", "constant"),
    [("'x'", True), ("'it''s'::character varying(20)", True), ("-1.5", True), ("(0)", True), ("now()", True),
     ("gen_random_uuid()", False), ("nextval('s')", False), ("'a' || clock_timestamp()", False)],
)  # fmt: skip
def test_offline_only_what_is_plainly_constant_counts_as_constant(default: str, constant: bool) -> None:
    assert ddl.is_plainly_constant(default) is constant


def test_literals_hold_anything() -> None:
    assert ddl.literal("it's") == "'it''s'"
    assert ddl.literal("a\\'b") == "E'a\\\\''b'"
