"""Everything that can be known before anything is touched.

All checks run, all results are shown, then it is decided. Reads only: no lock beyond ACCESS SHARE, on
catalogues and for a moment on each table whose size is read; no object made but one probe in the storage,
which is removed. The revisions' Python runs in Alembic's offline mode, for the lint: nothing that they send
is executed, and what they connect to by themselves they only read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lockkeeper.config import Target
from lockkeeper.drill import last_drill
from lockkeeper.drill.objective import check_objective
from lockkeeper.errors import (
    AlembicProjectError,
    LockkeeperError,
    MigrationError,
    PreflightError,
    RefusedError,
    StorageError,
)
from lockkeeper.lint import exemptions
from lockkeeper.lint.project import sources_of
from lockkeeper.lint.renames import RULE, RenameInOneGo, renames_in_one_go
from lockkeeper.models import BackupKind, Check, MigrationPlan
from lockkeeper.offline_lint import Script, lint_checks, lint_offline, read_project
from lockkeeper.physical import check_readiness
from lockkeeper.postgres.clients import find_client_programs
from lockkeeper.postgres.connection import Connection, connect, fetch_all, fetch_value, named_query
from lockkeeper.postgres.databases import list_leftovers
from lockkeeper.postgres.fingerprint import schema_fingerprint
from lockkeeper.postgres.locks import lock_holder
from lockkeeper.recovery.provision import Provision, provision_of
from lockkeeper.rename import ColumnChange, Stage
from lockkeeper.rename.engine import ColumnRename
from lockkeeper.risk import Linted
from lockkeeper.room import check_room
from lockkeeper.storage import open_storage
from lockkeeper.verification import (
    check_invalid_objects,
    failed,
    invalid_objects,
    load_rules,
    passed,
    unknown,
    warned,
)

OLDEST_SERVER, NEWEST_SERVER = 14, 18
MAINTENANCE_TIMEOUT_MS = 30_000
SHOWN = 5
_FACT_NAMES = (
    "version_num", "is_standby", "read_only", "owns_database", "may_end_sessions", "role", "database",
    "size_bytes", "prepared",
)  # fmt: skip
Facts = dict[str, Any]
_APPROVED = frozenset(
    {Stage.FLIPPED, Stage.OBSERVING, Stage.SCREAMING, Stage.SCREAMED, Stage.CONTRACTED, Stage.DROPPED}
)
"""From here on somebody has approved that the new column is read."""


def require_preflight(checks: Sequence[Check]) -> None:
    """Raise PreflightError when one of ``checks`` forbids going on."""
    problems = [f"{check.name}: {check.message}" for check in checks if check.refuses]
    if problems:
        raise PreflightError(problems)


class Preflight(NamedTuple):
    """What there is to apply, if that is known, what was checked, and what the lint says of which SQL."""

    plan: MigrationPlan | None
    checks: list[Check]
    lint: Linted
    script: Script


def run_preflight(target: Target, revision: str, *, run_id: str, lock_is_ours: bool) -> Preflight:
    """Run every check for migrating ``target`` to ``revision``.

    Args:
        target: what would be migrated.
        revision: an Alembic revision, "head", "heads" or a relative one.
        run_id: names the connections.
        lock_is_ours: the caller holds the migration lock; otherwise whoever holds it is reported.
    """
    checks: list[Check] = []
    try:
        with connect(
            target.url, "preflight", run_id=run_id, statement_timeout_ms=MAINTENANCE_TIMEOUT_MS
        ) as connection:
            checks += _check_database(connection, target)
    except LockkeeperError as error:
        # Nothing else can be found out about a database that cannot be reached.
        checks.append(unknown("connection", error))
        return Preflight(None, checks, Linted(failure=str(error)), Script(failure=str(error)))
    checks += _guarded("maintenance database", lambda: _check_maintenance(target, run_id, lock_is_ours))
    checks += _guarded("scratch server", lambda: _check_scratch_server(target, run_id))
    checks += _guarded("capture", lambda: _check_provision(target, run_id))
    checks += _guarded("storage", lambda: _check_storage(target, run_id))
    checks += _guarded("physical backup", lambda: check_readiness(target, run_id))
    plan: MigrationPlan | None = None
    lint, script = Linted(failure="there is no plan"), Script(failure="there is no plan")
    try:
        plan, script = read_project(target.require_alembic(), target.url, revision, run_id)
        load_rules(target.require_alembic().rules_dir)
        checks.append(passed("revision", _describe_plan(plan)))
        found = plan
        checks += _guarded("renames", lambda: _check_renames(target, found, run_id))
        if plan.steps:
            lint = lint_offline(target.url, plan, script, run_id)
            checks += lint_checks(lint, target.policies.rehearsal)
    except (AlembicProjectError, MigrationError) as error:
        checks.append(failed("revision", str(error)))
    except LockkeeperError as error:
        checks.append(unknown("revision", error))
    return Preflight(plan, checks, lint, script)


def _guarded(name: str, check: Callable[[], list[Check]]) -> list[Check]:
    try:
        return check()
    except LockkeeperError as error:
        return [unknown(name, error)]


def _describe_plan(plan: MigrationPlan) -> str:
    if not plan.steps:
        return f"already at {plan.destination}: nothing to apply"
    before = ", ".join(plan.before) or "base"
    return f"{len(plan.steps)} revisions from {before} to {', '.join(plan.after) or 'base'}"


def _check_renames(target: Target, plan: MigrationPlan, run_id: str) -> list[Check]:
    """Refuse to expand and contract one rename in one go where an application may use the column."""
    sources = sources_of(plan)
    pairs = renames_in_one_go(sources, [step.id for step in plan.steps])
    if not pairs:
        return []
    checks = []
    with connect(target.url, "preflight", run_id=run_id) as connection:
        for pair in pairs:
            claims = exemptions.of_revisions(sources, [pair.contract]).claims
            reason = next((claim.reason for claim in claims if claim.answers(RULE)), None)
            if not _is_there(connection, pair) or _is_approved(target, pair):
                continue
            if reason is not None:
                checks.append(warned("renames", f"{pair.danger} Its source allows it: {reason}"))
            else:
                checks.append(failed("renames", f"{pair.danger} Instead: {pair.way(target.name)}"))
    return checks


def _is_there(connection: Connection, pair: RenameInOneGo) -> bool:
    """Whether the column is there already; names that are not literal may be anything."""
    names = pair.names
    values = {"schema": names.schema, "table": names.table, "column": names.old}
    return not names.literal or bool(fetch_value(connection, named_query("column_is_there"), values))


def _is_approved(target: Target, pair: RenameInOneGo) -> bool:
    """Whether the ledger says that the flip of this rename was approved."""
    names = pair.names
    if not names.literal:
        return False
    table = f"{names.schema}.{names.table}" if names.schema else names.table
    try:
        return ColumnRename(target.url, ColumnChange(table, names.old, names.new)).status().stage in _APPROVED
    except RefusedError:  # it was never begun
        return False


def _check_database(connection: Connection, target: Target) -> list[Check]:
    facts: Facts = dict(zip(_FACT_NAMES, fetch_all(connection, named_query("server_facts"))[0], strict=True))
    return [
        passed("connection", f"connected to {target.database} as {target.url.username}"),
        *_check_server(facts),
        *_check_privileges(connection, facts),
        *_check_clients(target, facts),
        *_check_transactions(connection, target, facts),
        *_check_replication(connection, target, facts),
        *_check_validity(connection),
        _check_objective(target, facts),
    ]


def _check_server(facts: Facts) -> list[Check]:
    major = facts["version_num"] // 10000
    if facts["is_standby"]:
        return [failed("server", "it is a standby in recovery; give the URL of the primary")]
    if facts["read_only"]:
        return [
            failed(
                "server",
                "default_transaction_read_only is on for this role or database: RESET it, or, if a migration "
                "has left it so, see `lockkeeper status`",
            )
        ]
    if major < OLDEST_SERVER:
        return [failed("server", f"PostgreSQL {major} is older than {OLDEST_SERVER}")]
    if major > NEWEST_SERVER:
        return [warned("server", f"PostgreSQL {major} is newer than what was tested ({NEWEST_SERVER})")]
    return [passed("server", f"PostgreSQL {major}, a primary, {facts['size_bytes'] / 2**20:.0f} MiB")]


def _check_privileges(connection: Connection, facts: Facts) -> list[Check]:
    checks = []
    if not facts["owns_database"]:
        problem = "the role does not own the database, so it could not swap in a restored copy"
        statement = f"ALTER DATABASE {facts['database']} OWNER TO {facts['role']}"
        checks.append(failed("privileges", f"{problem}. {statement}, or use the owner"))
    if not facts["may_end_sessions"]:
        problem = "the role may not end other users' sessions, so a restore could not fence them off"
        checks.append(warned("privileges", f"{problem}. GRANT pg_signal_backend TO {facts['role']}"))
    unreadable = [table for (table,) in fetch_all(connection, named_query("unreadable_tables"), {})]
    if unreadable:
        shown = ", ".join(unreadable[:SHOWN]) + (", ..." if len(unreadable) > SHOWN else "")
        checks.append(failed("privileges", f"{len(unreadable)} relations cannot be read: {shown}"))
    return checks or [passed("privileges", "the role owns the database and can read all of it")]


def _check_clients(target: Target, facts: Facts) -> list[Check]:
    try:
        programs = find_client_programs(facts["version_num"], target.client_bin_dir)
    except LockkeeperError as error:
        return [failed("client programs", str(error))]
    return [passed("client programs", f"pg_dump and pg_restore {programs.version}")]


def _check_transactions(connection: Connection, target: Target, facts: Facts) -> list[Check]:
    limit = target.policies.max_transaction_age_s
    rows = fetch_all(connection, named_query("old_transactions"), {"age_s": limit})
    checks = [
        failed(
            "long transactions",
            f"session {pid} ({application}, user {user}) is {state}, its transaction {age:.0f} s old; "
            f"the limit is {limit:.0f} s. End it, or wait",
        )
        for pid, application, user, state, age in rows
    ]
    if hidden := fetch_all(connection, named_query("hidden_transactions")):
        who = ", ".join(f"{pid} ({application}, user {user})" for pid, application, user in hidden[:SHOWN])
        more = f" and {len(hidden) - SHOWN} more" if len(hidden) > SHOWN else ""
        problem = f"how long sessions {who}{more} have been in their transactions is hidden from this role"
        checks.append(warned("transactions", f"{problem}. {_may_see_all(facts)}"))
    if facts["prepared"]:
        problem = f"{facts['prepared']} prepared transactions hold locks and forbid a swap"
        checks.append(
            failed("prepared transactions", f"{problem}. COMMIT PREPARED or ROLLBACK PREPARED them")
        )
    return checks or [passed("transactions", f"none is older than {limit:.0f} s, none is prepared")]


def _may_see_all(facts: Facts) -> str:
    return f"GRANT pg_read_all_stats TO {facts['role']}"


def _check_replication(connection: Connection, target: Target, facts: Facts) -> list[Check]:
    limit = target.policies.max_replication_lag_bytes
    checks = []
    for name, lag, hidden in fetch_all(connection, named_query("replication_lag")):
        if hidden:
            problem = f"how far {name} is behind is hidden from this role"
            checks.append(warned("replication", f"{problem}. {_may_see_all(facts)}"))
        elif lag is None:
            checks.append(warned("replication", f"{name} has not told yet how far it is"))
        elif lag > limit:
            checks.append(failed("replication", f"{name} is {lag} bytes behind; the limit is {limit}"))
        else:
            checks.append(passed("replication", f"{name} is {lag} bytes behind"))
    return checks or [passed("replication", "no standby is attached")]


def _check_validity(connection: Connection) -> list[Check]:
    """Invalid objects from before are no reason to refuse; the migration is only blamed for new ones."""
    invalid = invalid_objects(schema_fingerprint(connection))
    return check_invalid_objects(invalid, invalid)


def _check_objective(target: Target, facts: Facts) -> Check:
    try:
        storage = open_storage(target.storage)
        drill = last_drill(storage, target.name, BackupKind.DUMP)
        physical = last_drill(storage, target.name, BackupKind.PHYSICAL)
    except StorageError as error:  # whether the storage can be used at all is a check of its own
        return warned("recovery objective", f"the last drill cannot be read: {error}")
    objective_s = target.policies.recovery_objective_s
    return check_objective(drill, facts["size_bytes"], objective_s, target.name, physical)


def _check_maintenance(target: Target, run_id: str, lock_is_ours: bool) -> list[Check]:
    with connect(target.maintenance_url, "preflight", run_id=run_id) as connection:
        holder = None if lock_is_ours else lock_holder(connection, target.database)
    checks = [
        warned("leftovers", f"database {left.name} is left from an earlier run ({left.description})")
        for left in list_leftovers(target.maintenance_url, target.database)
    ]
    if holder:
        checks.append(failed("migration lock", f"another migration is running: {holder}"))
    else:
        checks.append(passed("migration lock", "no other migration is running"))
    return checks


def _check_scratch_server(target: Target, run_id: str) -> list[Check]:
    with connect(target.scratch_server_url, "preflight", run_id=run_id) as connection:
        query = "SELECT rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"
        if not fetch_value(connection, query):
            role = fetch_value(connection, "SELECT pg_catalog.quote_ident(current_user)")
            problem = f"role {role} may not create databases"
            return [failed("scratch server", f"{problem}. ALTER ROLE {role} CREATEDB, or give a scratch_url")]
        scratch = int(fetch_value(connection, "SHOW server_version_num")) // 10000
    with connect(target.url, "preflight", run_id=run_id) as connection:
        source = int(fetch_value(connection, "SHOW server_version_num")) // 10000
    if scratch != source:
        problem = f"it is PostgreSQL {scratch}, the target is {source}: give one of the same major"
        return [failed("scratch server", problem)]
    return [passed("scratch server", f"PostgreSQL {scratch}, may create databases")]


def _check_provision(target: Target, run_id: str) -> list[Check]:
    """What is captured, and what room that and the rest of the run take."""
    provided = provision_of(target, run_id)
    captures = provided.provision is Provision.CAPTURE
    return [*provided.checks, *_guarded("disk", lambda: check_room(target, run_id, captures=captures))]


def _check_storage(target: Target, run_id: str) -> list[Check]:
    storage = open_storage(target.storage)
    key = f"{target.name}/probe-{run_id}"
    storage.put_bytes(key, b"lockkeeper")
    read = storage.get_bytes(key)
    storage.delete(key)
    if read != b"lockkeeper":
        return [failed("storage", f"{key} was read back as something else than was written")]
    return [passed("storage", "an object can be written, read and deleted")]
