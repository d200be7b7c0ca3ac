"""Can the application's changes be captured here? Reads only, takes no lock, and says everything at once."""

from __future__ import annotations

from typing import Any

from lockkeeper.config import Target
from lockkeeper.errors import LockkeeperError
from lockkeeper.home import HOME_VARIABLE
from lockkeeper.models import Check
from lockkeeper.postgres.connection import Connection, connect, fetch_all, fetch_value, named_query
from lockkeeper.recovery.capture.files import captures_home
from lockkeeper.recovery.capture.models import CaptureLimits, Marks, OutsideTable, Readiness
from lockkeeper.recovery.capture.tables import PACKAGE, Choice, choose_tables, read_tables
from lockkeeper.storage.local import disk_of
from lockkeeper.verification import failed, passed, unknown, warned

TIMEOUT_MS = 15_000
SKIPS_ORIGINS_SINCE = 160000
PARAMETER_PRIVILEGES_SINCE = 150000
SHOWN_TABLES = 5
_MAY_SET_ROLE = "SELECT pg_catalog.has_parameter_privilege('session_replication_role', 'SET')"
_FACT_NAMES = (
    "version_num", "wal_level", "may_replicate", "may_publish", "free_slots", "free_senders", "keep_size_mb",
    "prepared", "old_writer_s", "large_objects", "is_standby", "may_silence_triggers", "role", "database",
)  # fmt: skip
_ORIGIN_FUNCTIONS = ("pg_replication_origin_create(text)", "pg_replication_origin_session_setup(text)")
Facts = dict[str, Any]


def capture_readiness(target: Target, run_id: str | None = None) -> Readiness:
    """Check all that can be known before a capture starts; an error is a check that could not run."""
    try:
        with connect(target.url, "preflight", run_id=run_id, statement_timeout_ms=TIMEOUT_MS) as connection:
            row = fetch_all(connection, named_query("readiness_facts", PACKAGE))[0]
            facts: Facts = dict(zip(_FACT_NAMES, row, strict=True))
            if facts["version_num"] >= PARAMETER_PRIVILEGES_SINCE and not facts["may_silence_triggers"]:
                facts["may_silence_triggers"] = fetch_value(connection, _MAY_SET_ROLE)
            choice = choose_tables(read_tables(connection))
            marks = marks_of(connection)
    except LockkeeperError as error:
        return Readiness(False, (unknown("capture", error),), (), "message")
    checks = (
        *judge_server(facts, target.policies.max_transaction_age_s),
        *_spool_check(),
        *judge_tables(choice, facts),
        _mark_check(marks, facts),
    )
    possible = not any(check.refuses for check in checks)
    return Readiness(possible, checks, choice.outside, marks)


def judge_server(facts: Facts, max_transaction_age_s: float) -> list[Check]:
    """Decide from the server's facts; each failed check forbids a capture."""
    problems = [
        (facts["is_standby"], "the server is a standby"),
        (
            facts["wal_level"] != "logical",
            f"wal_level is {facts['wal_level']}: ALTER SYSTEM SET wal_level = logical and restart the server "
            "(RDS: rds.logical_replication = 1)",
        ),
        (not facts["may_replicate"], f"the role may not replicate: ALTER ROLE {facts['role']} REPLICATION"),
        (
            not facts["may_publish"],
            "the role may not create a publication: "
            f"GRANT CREATE ON DATABASE {facts['database']} TO {facts['role']}",
        ),
        (facts["free_slots"] < 1, "no replication slot is free: raise max_replication_slots, or drop one"),
        (facts["free_senders"] < 2, "fewer than two WAL senders are free: raise max_wal_senders"),
        (facts["prepared"], f"{facts['prepared']} prepared transactions: COMMIT or ROLLBACK PREPARED them"),
        (
            (facts["old_writer_s"] or 0) > max_transaction_age_s,
            f"a transaction has been open for {facts['old_writer_s'] or 0:.0f} s; a slot waits for its end",
        ),
    ]  # fmt: skip
    checks = [failed("capture", message) for wrong, message in problems if wrong]
    if facts["keep_size_mb"] < 0:
        checks.append(
            warned(
                "capture: bound",
                "max_slot_wal_keep_size is not set: when the server restarts while the capture's machine "
                "is down, nothing bounds the WAL that the slot keeps. "
                "ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'",
            )
        )
    if not facts["may_silence_triggers"]:
        checks.append(
            failed(
                "capture: replay",
                "the role may not set session_replication_role, so triggers would act again in the copy: "
                f"GRANT SET ON PARAMETER session_replication_role TO {facts['role']} (15 and later)",
            )
        )
    return checks or [passed("capture", "the server and the role can capture changes")]


def _spool_check() -> list[Check]:
    """A capture ends itself when its disk is nearly full: then it had better not begin."""
    home, must_stay = captures_home(), CaptureLimits().free_disk_bytes
    try:
        free = disk_of(home).free_bytes
    except OSError as error:
        return [failed("capture", f"the disk of {home} cannot be seen: {error.strerror}")]
    if free >= must_stay:
        return []
    sizes = f"{free / 2**20:.0f} MiB are free on the disk of {home}, {must_stay / 2**20:.0f} MiB must stay"
    return [failed("capture", f"{sizes}. Free some, or set {HOME_VARIABLE} to a folder on another disk")]


def judge_tables(choice: Choice, facts: Facts) -> list[Check]:
    """Say which tables' changes would not be captured."""
    checks = [_outside_check(choice.outside)] if choice.outside else []
    if facts["large_objects"]:
        checks.append(
            warned(
                "capture: large objects",
                "large objects are not captured: when one was written since the backup, "
                "nothing is swapped by itself",
            )
        )
    checks += _identity_check(choice)
    covered = f"the changes of {len(choice.tables)} tables are captured"
    return [*checks, passed("capture: tables", covered)]


def _identity_check(choice: Choice) -> list[Check]:
    """Name the tables that keep their own identity: PostgreSQL 18 and virtual generated columns."""
    own = [table.identity for table in choice.tables if not table.full]
    if not own:
        return []
    shown = ", ".join(own[:SHOWN_TABLES]) + (", ..." if len(own) > SHOWN_TABLES else "")
    message = (
        f"{shown}: a virtual generated column forbids REPLICA IDENTITY FULL. Every write is kept; but of a "
        "row that the migration has changed too, the other columns come with it"
    )
    return [warned("capture: identity", message)]


def _outside_check(outside: tuple[OutsideTable, ...]) -> Check:
    shown = "; ".join(f"{each.table}: {each.reason}" for each in outside[:SHOWN_TABLES])
    more = f"; and {len(outside) - SHOWN_TABLES} more" if len(outside) > SHOWN_TABLES else ""
    return warned("capture: tables", f"outside the guarantee that no write is lost: {shown}{more}")


def _mark_check(marks: Marks, facts: Facts) -> Check:
    if marks == "origin":
        return passed("capture: own writes", "the migration's writes are told apart by a replication origin")
    return warned(
        "capture: own writes",
        "the role may not set a replication origin, so the migration's transactions are told apart by a "
        f"message in each; statements outside of a transaction are not. In {facts['database']}: "
        f"GRANT EXECUTE ON FUNCTION {', '.join(_ORIGIN_FUNCTIONS)} TO {facts['role']}",
    )


def marks_of(connection: Connection) -> Marks:
    """Return how the migration's own writes can be told apart here."""
    query = "SELECT bool_and(pg_catalog.has_function_privilege(f, 'EXECUTE')) FROM unnest(%s) AS f"
    names = [f"pg_catalog.{name}" for name in _ORIGIN_FUNCTIONS]
    return "origin" if fetch_value(connection, query, (names,)) else "message"


def server_skips_origins(connection: Connection, version_num: int) -> bool:
    """Whether the server may leave out what has an origin: only when nobody but us can have one here."""
    if version_num < SKIPS_ORIGINS_SINCE or marks_of(connection) != "origin":
        return False
    query = r"SELECT count(*) FROM pg_catalog.pg_replication_origin WHERE roname NOT LIKE 'lockkeeper\_%'"
    return int(fetch_value(connection, query)) == 0
