"""Is the database what it must be after a migration?

Every check is run and every result shown before anything is decided. A check that could not run is not a
check that passed. Rules show the keys of failing rows, never their contents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import psycopg2
from psycopg2 import sql
from sqlalchemy.engine import URL

from lockkeeper.backup.capture_traces import without_capture
from lockkeeper.backup.counters import Counters
from lockkeeper.errors import ConfigurationError, DatabaseError, VerificationError
from lockkeeper.measured import UnforeseenWrite
from lockkeeper.models import Check, CheckState, MigrationPlan, SchemaFingerprint
from lockkeeper.postgres.connection import (
    Connection,
    connect,
    converting_errors,
    execute,
    fetch_all,
    fetch_value,
    named_query,
)
from lockkeeper.postgres.fingerprint import compare_schemas
from lockkeeper.postgres.own_objects import without_own

SHOWN_KEYS = 5
_QUOTES_NO_ROW = frozenset({"08", "25", "53", "55", "57"})
"""Classes of SQLSTATE whose texts name limits and states, not values; class 42 is judged by itself."""
_NOT_PERMITTED = "42501"


def passed(name: str, message: str) -> Check:
    """A check that found what it must."""
    return Check(name=name, state=CheckState.OK, message=message)


def failed(name: str, message: str) -> Check:
    """A check that found what may not be."""
    return Check(name=name, state=CheckState.FAILED, message=message)


def warned(name: str, message: str) -> Check:
    """A check that found what somebody should know, without being wrong."""
    return Check(name=name, state=CheckState.WARNING, message=message)


def unknown(name: str, error: Exception) -> Check:
    """A check that could not run, which never counts as passed."""
    return Check(name=name, state=CheckState.UNKNOWN, message=f"could not check: {error}")


def require(subject: str, checks: Sequence[Check]) -> None:
    """Raise VerificationError when one of ``checks`` forbids going on."""
    findings = [check.message for check in checks if check.refuses]
    if findings:
        raise VerificationError(subject, findings, checks)


def check_revisions(current: Sequence[str], plan: MigrationPlan) -> Check:
    """Compare the version table with where the plan ends."""
    here, there = ", ".join(sorted(current)) or "base", ", ".join(sorted(plan.after)) or "base"
    if here == there:
        return passed("revision", f"the database is at {here}")
    return failed("revision", f"the database is at revision {here}, expected {there}")


def invalid_objects(schema: SchemaFingerprint) -> frozenset[str]:
    """Name the invalid indexes, and the constraints that are NOT VALID, of a schema."""
    indexes = schema.objects.get("index", {})
    constraints = schema.objects.get("constraint", {})
    found = {
        f"index {name} is invalid (an interrupted CREATE INDEX CONCURRENTLY?)"
        for name, index in indexes.items()
        if not index["valid"]
    }
    found |= {
        f"constraint {name} is NOT VALID"
        for name, constraint in constraints.items()
        if not constraint["validated"] and "NOT ENFORCED" not in constraint["definition"]
    }
    return frozenset(found)


def check_invalid_objects(before: frozenset[str], now: frozenset[str]) -> list[Check]:
    """Fail for every invalid object that was not there ``before``; mention those that were."""
    checks = [failed("validity", text) for text in sorted(now - before)]
    checks += [warned("validity", f"{text}, as it was before") for text in sorted(now & before)]
    return checks or [passed("validity", "every index is valid and every constraint is validated")]


def check_schema(expected: SchemaFingerprint | None, now: SchemaFingerprint) -> list[Check]:
    """Compare the schema with the one that the rehearsal has led to; no check without a rehearsal.

    What a capture changes meanwhile, in what the migration has made too, is none of the migration's.
    """
    if expected is None:
        return []
    there, here = (
        without_invalid_indexes(without_own(without_capture(schema))) for schema in (expected, now)
    )
    differences = compare_schemas(there, here)
    checks = [failed("schema", f"not as in the rehearsal: {difference}") for difference in differences]
    return checks or [passed("schema", "it is the one that the rehearsal has led to")]


def without_invalid_indexes(schema: SchemaFingerprint) -> SchemaFingerprint:
    """Return a schema without its invalid indexes: pg_dump leaves them out, so no copy has them."""
    valid = {name: index for name, index in schema.objects.get("index", {}).items() if index["valid"]}
    return SchemaFingerprint(objects={**schema.objects, "index": valid})


def row_counts(connection: Connection, tables: Sequence[str]) -> dict[str, int]:
    """Count the rows of those ``tables`` (qualified and quoted names) that exist; takes ACCESS SHARE."""
    counts = {}
    for table in tables:
        if fetch_value(connection, "SELECT pg_catalog.to_regclass(%s)", (table,)) is not None:
            # ``table`` came quoted from the catalogue (quote_ident), and was just resolved by it.
            counts[table] = int(fetch_value(connection, sql.SQL("SELECT count(*) FROM ") + sql.SQL(table)))
    return counts


def check_counts(before: dict[str, int], now: dict[str, int]) -> list[Check]:
    """Fail where a table that had rows is empty; mention tables that are gone or smaller."""
    checks = []
    for table, rows in sorted(before.items()):
        if table not in now:
            checks.append(warned("row counts", f"table {table} with {rows} rows is gone"))
        elif rows and not now[table]:
            checks.append(failed("row counts", f"table {table} had {rows} rows and is empty"))
        elif now[table] < rows:
            checks.append(warned("row counts", f"table {table} had {rows} rows and has {now[table]}"))
    return checks or [passed("row counts", f"no table of {len(before)} has lost a row")]


def check_unforeseen(
    writes: Sequence[UnforeseenWrite], counted: Mapping[str, Counters | None], *, sampled: bool
) -> list[Check]:
    """Fail for rows that a revision wrote in production alone, in tables that nobody else has written.

    A revision may find rows there that applications have written since the backup; that is told. So it is
    where who has written cannot be known, and where the rehearsal had a sample of the rows only.

    Args:
        writes: what was not foreseen.
        counted: table -> rows written since the backup by anybody; None where that is not known.
        sampled: the rehearsal has not had all rows.
    """
    checks = []
    for write in writes:
        by_all, own = counted.get(write.table), write.own
        if sampled:
            checks.append(warned("writes", f"{write}, which had a sample of the rows"))
        elif by_all is None or own is None:
            checks.append(warned("writes", f"{write}; whether others wrote there, too, is not known"))
        elif any(count > mine for count, mine in zip(by_all, own, strict=True)):
            checks.append(warned("writes", f"{write}; others have written there since the backup"))
        else:
            checks.append(failed("writes", f"{write}; nobody else has written there since the backup"))
    return checks


def check_models(differences: Sequence[str] | None, policy: str) -> list[Check]:
    """Judge the differences between the database and the project's models."""
    if differences is None:
        return [passed("models", "the project has no model metadata to compare with")]
    if not differences:
        return [passed("models", "the database is what the models describe")]
    judge = failed if policy == "fail" else warned
    return [judge("models", difference) for difference in differences]


def load_rules(folder: Path | None) -> dict[str, str]:
    """Return rule name -> query of every ``*.sql`` file in ``folder``; raises ConfigurationError."""
    if folder is None:
        return {}
    if not folder.is_dir():
        raise ConfigurationError(f"The folder of rules {folder} does not exist.")
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.sql"))}


def check_rules(url: URL, rules: dict[str, str], *, timeout_ms: int, run_id: str) -> list[Check]:
    """Run every rule in a read-only transaction of its own; a rule that returns rows fails."""
    checks = []
    for name, query in rules.items():
        try:
            with connect(
                url, "rules", run_id=run_id, autocommit=False, statement_timeout_ms=timeout_ms
            ) as connection:
                execute(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                checks.append(_check_rule(connection, name, query))
        except DatabaseError as error:
            checks.append(unknown(f"rule {name}", _without_contents(error)))
    return checks


def _without_contents(error: DatabaseError) -> DatabaseError:
    """Keep only the code of an error whose text may quote a row."""
    if _quotes_no_row(error):
        return error
    code = error.sqlstate
    return DatabaseError(f"SQLSTATE {code}; the text is not shown, since it may quote rows", code)


def _quotes_no_row(error: DatabaseError) -> bool:
    """Whether the error's text is the server's about the rule itself, and not of a value or a function."""
    code, cause = error.sqlstate, error.__cause__
    if code is None or not isinstance(cause, psycopg2.Error):  # the driver's own, such as a lost connection
        return True
    if cause.diag.context:  # inside a function, which may say what it likes
        return False
    if code.startswith("42"):  # without a position in the rule's text: a cast to regclass, say
        return code == _NOT_PERMITTED or cause.diag.statement_position is not None
    return code[:2] in _QUOTES_NO_ROW


def _check_rule(connection: Connection, name: str, query: str) -> Check:
    """Fetch a few rows, count the others on the server: one that all rows break may not fill our memory."""
    with converting_errors(), connection.cursor(name="rule") as cursor:
        cursor.execute(query)
        rows = cursor.fetchmany(SHOWN_KEYS)
        description = cursor.description or ()
        if not rows:
            return passed(f"rule {name}", f"rule {name} holds")
        with connection.cursor() as counter:
            counter.execute('MOVE FORWARD ALL IN "rule"')
            total = len(rows) + int(str(counter.statusmessage).rpartition(" ")[2])
    tables = [column.table_oid for column in description if column.table_oid]
    keys = set(fetch_all(connection, named_query("key_columns"), {"tables": tables}))
    shown = [
        (position, column.name)
        for position, column in enumerate(description)
        if (column.table_oid, column.table_column) in keys
    ]
    keys_of = [", ".join(f"{label}={row[at]}" for at, label in shown) for row in rows]
    examples = ", ".join(f"({key})" for key in keys_of) + (", ..." if total > SHOWN_KEYS else "")
    where = f": {examples}" if shown else ""
    return failed(f"rule {name}", f"rule {name} is broken by {total} rows{where}")
