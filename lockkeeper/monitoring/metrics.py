"""What the monitors know as metrics in a file, for node_exporter's textfile collector or whoever reads it.

The files are valid OpenMetrics and valid in Prometheus' own text format, since all are gauges. Each is
replaced whole by ``rename(2)``: a reader sees the former file or the new one. Where they go is a property of
the machine, not of a target: the folder that ``LOCKKEEPER_METRICS_DIR`` names; without it nothing is written.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lockkeeper.errors import ConfigurationError
from lockkeeper.measured import MonitorSummary
from lockkeeper.models import BackupManifest, DrillReport, Outcome, RunReport
from lockkeeper.monitoring.budget import blocked_sessions
from lockkeeper.monitoring.readings import Activity, Look, Vitals

FOLDER_VARIABLE = "LOCKKEEPER_METRICS_DIR"
INTERVAL_S = 5.0
END_TIMEOUT_S = 1.0
_NOT_FAILED = (Outcome.SUCCEEDED, Outcome.NOTHING_TO_DO, Outcome.WAITING, Outcome.NEEDS_APPROVAL)

METRICS = {
    "look_success": "1 when the last scheduled look could be taken, else 0",
    "look_timestamp_seconds": "When the last scheduled look was tried",
    "incidents_open": "Incidents that were told and are not over, by rule",
    "connections": "Connections to the server",
    "connections_max": "Connections that the server allows",
    "connections_active": "Sessions that execute a statement",
    "connections_idle_in_transaction": "Sessions that are idle in a transaction",
    "lock_waits": "Sessions that wait for a lock",
    "lock_wait_longest_seconds": "Longest wait for a lock",
    "transaction_longest_seconds": "Age of the oldest transaction",
    "query_longest_seconds": "Longest query",
    "database_size_bytes": "Size of the database",
    "database_commits": "Transactions committed since the last reset of the statistics",
    "database_rollbacks": "Transactions rolled back since the last reset of the statistics",
    "database_deadlocks": "Deadlocks since the last reset of the statistics",
    "database_temporary_bytes": "Bytes written to temporary files since the last reset of the statistics",
    "database_cache_hit_ratio": "Share of blocks found in the cache since the last reset of the statistics",
    "transaction_id_age": "Age of the oldest transaction id",
    "transaction_id_freeze_age": "Age at which autovacuum freezes whatever else happens",
    "dead_rows": "Dead rows of the tables that were read",
    "wal_bytes": "Bytes of WAL since the server was made",
    "replica_lag_bytes": "WAL that a replica has not replayed",
    "slot_retained_bytes": "WAL that a replication slot keeps",
    "disk_free_ratio": "Share of the data's disk that is free, where it can be seen",
    "command_progress_ratio": "Share that is done of a long command's present phase",
    "migration_running": "1 while a migration is watched, 0 when its watch has ended",
    "migration_timestamp_seconds": "When this was last written beside a migration",
    "migration_blocked_sessions": "Sessions that the migration keeps waiting",
    "migration_blocked_sessions_max": "Most sessions that the migration has kept waiting at once",
    "migration_block_longest_seconds": "Longest wait that the migration has caused",
    "migration_waits": "Sessions of the migration that wait for a lock of others",
    "migration_probe_seconds": "Latency of the probe query now",
    "migration_probe_before_seconds": "Middle latency of the probe query before the migration",
    "migration_probe_longest_seconds": "Longest latency of the probe query beside the migration",
    "migration_samples": "Samples taken beside the migration",
    "migration_samples_failed": "Samples that could not be taken beside the migration",
    "migration_throttled": "1 when backfills were asked to pause",
    "migration_cancelled": "1 when the impact budget has ended the migration",
    "run_success": "1 when the newest run of an operation has not failed, 0 when it has",
    "run_needs_human": "1 when the newest run of an operation waits for a human to mend it",
    "run_timestamp_seconds": "When the newest run of an operation began",
    "run_duration_seconds": "How long the newest run of an operation took",
    "run_step_duration_seconds": "How long a step of the newest run of an operation took",
    "backup_verified_timestamp_seconds": "When the latest verified backup was made",
    "backup_verified_bytes": "Size of the latest verified backup",
    "drill_recovery_seconds": "How long a recovery would take, by the last drill",
    "drill_objective_seconds": "How long a recovery may take",
}
"""Name without the prefix ``lockkeeper_`` -> what it is; docs/grafana/lockkeeper.json uses no other."""


@dataclass
class Metrics:
    """Values of one target, in the order in which they were set."""

    target: str
    _samples: dict[str, list[tuple[dict[str, str], float]]] = field(default_factory=dict)

    def set(self, name: str, value: float | None, **labels: str) -> None:
        """Set one value; None is left out, since a metric that is not there is no zero."""
        if name not in METRICS:
            raise KeyError(f"{name} has no place in METRICS")
        if value is not None:
            self._samples.setdefault(name, []).append(({"target": self.target, **labels}, float(value)))

    def text(self) -> str:
        """Return all of it as OpenMetrics text."""
        lines: list[str] = []
        for name, samples in self._samples.items():
            full = f"lockkeeper_{name}"
            lines += [f"# HELP {full} {METRICS[name]}.", f"# TYPE {full} gauge"]
            lines += [f"{full}{{{_labels(labels)}}} {value!r}" for labels, value in samples]
        return "\n".join([*lines, "# EOF", ""])


def _labels(labels: Mapping[str, str]) -> str:
    def escaped(value: str) -> str:
        return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    return ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items())


def activity_metrics(metrics: Metrics, activity: Activity) -> None:
    """Add who is connected and who waits."""
    metrics.set("connections", activity.connections)
    metrics.set("connections_max", activity.max_connections)
    metrics.set("connections_active", activity.active)
    metrics.set("connections_idle_in_transaction", activity.idle_in_transaction)
    metrics.set("lock_waits", len({wait.waiter_pid for wait in activity.waits}))
    metrics.set("lock_wait_longest_seconds", _longest(wait.waiting_s for wait in activity.waits))
    metrics.set("transaction_longest_seconds", _longest(one.transaction_s for one in activity.sessions))
    running = (one.query_s for one in activity.sessions if one.state == "active")
    metrics.set("query_longest_seconds", _longest(running))


def _longest(seconds: Iterable[float]) -> float:
    return max(seconds, default=0.0)


def vitals_metrics(metrics: Metrics, vitals: Vitals) -> None:
    """Add sizes, debts and replication; what could not be read is left out."""
    database = vitals.database
    if database is not None:
        blocks = database.blocks_hit + database.blocks_read
        metrics.set("database_size_bytes", database.size_bytes)
        metrics.set("database_commits", database.commits)
        metrics.set("database_rollbacks", database.rollbacks)
        metrics.set("database_deadlocks", database.deadlocks)
        metrics.set("database_temporary_bytes", database.temp_bytes)
        metrics.set("database_cache_hit_ratio", database.blocks_hit / blocks if blocks else None)
        metrics.set("transaction_id_age", database.xid_age)
        metrics.set("transaction_id_freeze_age", database.freeze_max_age)
    if "tables" not in vitals.unseen:
        metrics.set("dead_rows", sum(table.dead_rows for table in vitals.tables))
    metrics.set("wal_bytes", vitals.wal_bytes)
    metrics.set("disk_free_ratio", vitals.disk_free_share)
    for number, replica in enumerate(vitals.replicas):  # receivers may share a name, series must not
        metrics.set("replica_lag_bytes", replica.lag_bytes, replica=replica.name, number=str(number))
    for slot in vitals.slots:
        metrics.set("slot_retained_bytes", slot.retained_bytes, slot=slot.name)


def history_metrics(
    metrics: Metrics,
    reports: Iterable[RunReport],
    backup: BackupManifest | None,
    drill: DrillReport | None,
) -> None:
    """Add the newest run of each operation (``reports`` are newest first), the last backup and drill."""
    seen: set[str] = set()
    for report in reports:
        if report.outcome is None or report.operation in seen:
            continue
        seen.add(report.operation)
        operation = report.operation
        metrics.set("run_success", report.outcome in _NOT_FAILED, operation=operation)
        metrics.set("run_needs_human", report.outcome is Outcome.NEEDS_HUMAN, operation=operation)
        metrics.set("run_timestamp_seconds", report.started_at.timestamp(), operation=operation)
        metrics.set("run_duration_seconds", report.duration_s, operation=operation)
        took: dict[str, float] = {}
        for step in report.steps:  # a step that was tried again is one series
            took[step.name] = took.get(step.name, 0.0) + step.duration_s
        for name, duration_s in took.items():
            metrics.set("run_step_duration_seconds", duration_s, operation=operation, step=name)
    if backup is not None:
        metrics.set("backup_verified_timestamp_seconds", backup.created_at.timestamp())
        metrics.set("backup_verified_bytes", backup.size_bytes)
    if drill is not None:
        metrics.set("drill_recovery_seconds", drill.predicted_recovery_s)
        metrics.set("drill_objective_seconds", drill.objective_s)


def migration_metrics(target: str, look: Look | None, summary: MonitorSummary, *, running: bool) -> Metrics:
    """Return what is seen beside a migration."""
    metrics = Metrics(target)
    metrics.set("migration_running", running)
    metrics.set("migration_blocked_sessions_max", summary.max_blocked_sessions)
    metrics.set("migration_block_longest_seconds", summary.longest_block_s)
    metrics.set("migration_samples", summary.samples)
    metrics.set("migration_samples_failed", summary.failed_samples)
    metrics.set("migration_throttled", summary.throttled)
    metrics.set("migration_cancelled", summary.cancelled is not None)
    probe = summary.probe
    if probe is not None:
        before_ms = probe.before_ms
        metrics.set("migration_probe_before_seconds", before_ms / 1000 if before_ms is not None else None)
        metrics.set("migration_probe_longest_seconds", probe.longest_ms / 1000)
    if look is None:
        return metrics
    metrics.set("migration_timestamp_seconds", look.activity.at.timestamp())
    if running:
        _present(metrics, look)
    return metrics


def _present(metrics: Metrics, look: Look) -> None:
    """Add what is only true at this moment."""
    blocked = blocked_sessions(look.activity, look.own_pids)
    metrics.set("migration_blocked_sessions", len(blocked))
    own = {wait.waiter_pid for wait in look.activity.waits if wait.waiter_pid in look.own_pids}
    metrics.set("migration_waits", len(own))
    metrics.set("migration_probe_seconds", look.probe_ms / 1000 if look.probe_ms is not None else None)
    for command in look.vitals.commands if look.vitals is not None else ():
        share = None if command.percent is None else command.percent / 100
        labels = {"pid": str(command.pid), "command": command.kind, "table": command.table}
        metrics.set("command_progress_ratio", share, **labels)


def write_metrics(metrics: Metrics, kind: str) -> None:
    """Replace this target's file of a kind (``look``, ``migration``); nothing without a folder.

    Raises:
        ConfigurationError: the folder that ``LOCKKEEPER_METRICS_DIR`` names cannot be written to.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return
    path = Path(folder) / f"lockkeeper-{metrics.target}-{kind}.prom"
    partial = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")  # the collector reads *.prom only
    try:
        partial.write_text(metrics.text(), encoding="utf-8")
        partial.chmod(0o644)  # node_exporter is another user
        partial.rename(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise ConfigurationError(
            f"Metrics cannot be written to {folder} ({error.strerror}). {FOLDER_VARIABLE} must name a folder "
            "that this user may write to."
        ) from error


@contextlib.contextmanager
def writing(take: Callable[[bool], Metrics], kind: str, problems: list[str]) -> Iterator[None]:
    """Write ``take(running)`` every few seconds beside the block, and once after it.

    A thread of its own: a slow disk holds up nothing but the metrics. The first problem is added to
    ``problems``, and no more is written then.
    """
    if not os.environ.get(FOLDER_VARIABLE):
        yield
        return
    stop = threading.Event()

    def keep_writing() -> None:
        try:
            while True:
                has_ended = stop.is_set()  # asked once: what is written last must say that it is over
                write_metrics(take(not has_ended), kind)
                if has_ended:
                    return
                stop.wait(INTERVAL_S)
        except ConfigurationError as error:
            problems.append(str(error))

    thread = threading.Thread(target=keep_writing, name="lockkeeper-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(END_TIMEOUT_S)
