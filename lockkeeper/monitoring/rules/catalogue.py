"""The rules with their limits. Limits are what most databases live well with; a target may set its own."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from lockkeeper.errors import ConfigurationError
from lockkeeper.monitoring.rules import server, sessions
from lockkeeper.monitoring.rules.model import Rule, Severity

GIB = 2.0**30
MIB = 2.0**20
CRITICAL = Severity.CRITICAL
ONE_LOOK_S = 30.0
"""For what may be a moment's noise: the next look, a minute later, must see it too."""

RULES: tuple[Rule, ...] = (
    Rule(
        "blocked-sessions", "sessions that wait for a lock", 5, sessions.blocked_sessions,
        advice="SELECT pg_cancel_backend(PID) of the root, when it may go.",
    ),
    Rule(
        "ungranted-lock", "longest wait for a lock, s", 30, sessions.ungranted_lock,
        advice="Look at the session in its way.",
    ),
    Rule(
        "long-query", "longest query, s", 1800, sessions.long_query,
        advice="SELECT pg_cancel_backend(PID), when nobody waits for its answer.",
    ),
    Rule(
        "long-transaction", "oldest transaction, s", 3600, sessions.long_transaction,
        advice="It holds back VACUUM and every migration. Ask whose it is.",
    ),
    Rule(
        "idle-in-transaction", "idle in a transaction, s", 300, sessions.idle_in_transaction,
        advice="Set idle_in_transaction_session_timeout for the application's role.",
    ),
    Rule(
        "old-snapshot", "age of the oldest snapshot, transactions", 10_000_000, sessions.old_snapshot,
        advice="VACUUM removes no dead row that this snapshot could see.",
    ),
    Rule(
        "connections", "connections used, %", 85, sessions.connections, CRITICAL, clear_below=0.9,
        advice="Beyond the limit the application is refused. Look for a pool without a bound.",
    ),
    Rule(
        "hidden-sessions", "sessions that this role cannot see", 1, sessions.hidden_sessions,
        advice="GRANT pg_monitor to the target's user.",
    ),
    Rule(
        "database-size", "size of the database, bytes", float("inf"), server.database_size,
        advice="The limit is the target's own: set it to what the disk holds.",
    ),
    Rule(
        "database-growth", "growth of the database, bytes an hour", 20 * GIB, server.database_growth,
        for_s=ONE_LOOK_S, advice="Look at the largest tables; table-growth names those that grow.",
    ),
    Rule(
        "table-growth", "growth of a table, bytes an hour", 20 * GIB, server.table_growth, for_s=ONE_LOOK_S,
        advice="A backfill or a bulk load, or a table that nobody empties.",
    ),
    Rule(
        "dead-rows", "dead rows, as a multiple of autovacuum's threshold", 5, server.dead_rows,
        advice="VACUUM it, and look for what holds autovacuum up (old-snapshot, idle-in-transaction).",
    ),
    Rule(
        "analyze-debt", "changed rows, as a multiple of autovacuum's threshold", 10, server.analyze_debt,
        advice="ANALYZE it: plans are made from old statistics.",
    ),
    Rule(
        "autovacuum-off", "autovacuum is off", 1, server.autovacuum_off,
        advice="Switch it on again after the bulk load that it was switched off for.",
    ),
    Rule(
        "wraparound", "transaction id age, as a multiple of autovacuum_freeze_max_age", 2,
        server.wraparound, CRITICAL, advice="VACUUM (FREEZE) the oldest tables; end old transactions.",
    ),
    Rule(
        "multixact-wraparound", "multixact age, as a multiple of its freeze_max_age", 2,
        server.multixact_wraparound, CRITICAL, advice="VACUUM (FREEZE) the oldest tables.",
    ),
    Rule(
        "deadlocks", "deadlocks since the last look", 1, server.deadlocks,
        advice="The server's log has both statements.",
    ),
    Rule(
        "temporary-files", "bytes written to temporary files since the last look", 2 * GIB,
        server.temporary_files, advice="Raise work_mem for the role of the query, or give it an index.",
    ),
    Rule(
        "archive-failures", "WAL files not archived since the last look", 1, server.archive_failures,
        CRITICAL, advice="See pg_stat_archiver; WAL is kept until it is archived.",
    ),
    Rule(
        "cache-misses", "blocks not in the cache, %", 50, server.cache_misses, for_s=ONE_LOOK_S,
        advice="A table is read as a whole, or shared_buffers is small for what is used.",
    ),
    Rule(
        "rollbacks", "transactions rolled back, %", 20, server.rollbacks, for_s=ONE_LOOK_S,
        advice="The application fails: look at its log and the server's.",
    ),
    Rule(
        "prepared-transaction", "oldest prepared transaction, s", 300, server.prepared_transaction,
        advice="COMMIT PREPARED or ROLLBACK PREPARED it; no migration starts before.",
    ),
    Rule(
        "invalid-index", "invalid index", 1, server.invalid_index,
        advice="DROP INDEX CONCURRENTLY it and build it again.",
    ),
    Rule(
        "replication-lag", "lag of a replica, bytes", 256 * MIB, server.replication_lag,
        advice="Readers of the replica see the past.",
    ),
    Rule(
        "slot-retention", "WAL kept by a slot, bytes", 8 * GIB, server.slot_retention, CRITICAL,
        advice="Make its reader go on, or drop the slot before the disk is full.",
    ),
    Rule(
        "slot-inactive", "slot without a reader", 1, server.slot_inactive, for_s=ONE_LOOK_S,
        advice="Make its reader go on, or drop it: SELECT pg_drop_replication_slot('NAME').",
    ),
    Rule(
        "slot-lost", "slot whose WAL is gone", 1, server.slot_lost, CRITICAL,
        advice="What reads from it must be made anew; its guarantees are over.",
    ),
    Rule(
        "wal-rate", "WAL, bytes a second", 100 * MIB, server.wal_rate, for_s=ONE_LOOK_S,
        advice="Replicas and archives must keep up with it.",
    ),
    Rule(
        "requested-checkpoints", "checkpoints before their time since the last look", 3,
        server.requested_checkpoints, advice="Raise max_wal_size.",
    ),
    Rule(
        "sequence-use", "numbers of a sequence used, %", 80, server.sequence_use, CRITICAL, clear_below=0.99,
        advice="Change the column and the sequence to bigint (lockkeeper rename does it online).",
    ),
    Rule(
        "lock-table", "table of locks used, %", 70, server.lock_table, CRITICAL,
        advice="Raise max_locks_per_transaction; touch fewer tables in one transaction.",
    ),
    Rule(
        "disk-used", "disk used, %", 90, server.disk_used, CRITICAL, clear_below=0.98,
        advice="A full disk stops the server.",
    ),
    Rule(
        "unseen", "readings that could not be taken", 1, server.unseen, for_s=ONE_LOOK_S,
        advice="What could not be checked is not good.",
    ),
)  # fmt: skip

BESIDE_A_MIGRATION: tuple[Rule, ...] = (
    Rule(
        "migration-waits", "wait of the migration for a lock, s", 0.5, sessions.migration_waits,
        clear_after_s=20.0,
        advice="End that session's transaction; the migration tries again by itself.",
    ),
)  # fmt: skip


def rule_named(name: str) -> Rule:
    """Return a rule; raises ConfigurationError for a name that no rule has."""
    known = {rule.name: rule for rule in (*RULES, *BESIDE_A_MIGRATION)}
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
        raise ConfigurationError(f"There is no alert {name!r}; {hint}")
    return known[name]


def limits_of(overrides: Mapping[str, float]) -> dict[str, float]:
    """Return rule -> limit with a target's own; raises ConfigurationError for a rule that is not known.

    ``inf`` switches a rule off.
    """
    for name in overrides:
        rule_named(name)
    return {rule.name: overrides.get(rule.name, rule.limit) for rule in (*RULES, *BESIDE_A_MIGRATION)}
