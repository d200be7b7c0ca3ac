"""A real replica that falls behind: told once, and backfills wait for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockkeeper.backfill.throttle import pause_asked_query
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.monitoring import AlertState, DatabaseMonitor, watching
from lockkeeper.monitoring.sampler import sampling
from lockkeeper.postgres.connection import libpq_environment
from lockkeeper.process import run_program
from tests.integration.planting import BIG, FILL, PATIENCE_MS, PLANTED_SETTINGS, Looker, run, wait_for

MIB = 2**20


@pytest.fixture
def replica(watched_server: EmbeddedPostgres, server_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A real stand-by of that server."""
    data_dir = server_folder / "planted-replica"
    data_dir.mkdir(mode=0o700)
    if watched_server.user:
        shutil.chown(data_dir, watched_server.user)
    argv = [
        str(watched_server.bin_dir / "pg_basebackup"), "--pgdata", str(data_dir), "--write-recovery-conf",
        "--checkpoint", "fast", "--wal-method", "stream",
    ]  # fmt: skip
    environment = {**libpq_environment(watched_server.url()), "PATH": "/usr/bin:/bin"}
    run_program(argv, env=environment, user=watched_server.user, cwd=Path("/"), timeout_s=120)
    standby = EmbeddedPostgres(data_dir, password=watched_server.password, settings=PLANTED_SETTINGS)
    standby.start()
    yield standby
    standby.destroy()


def test_the_lag_of_a_real_replica_is_told_and_its_catching_up_ends_it(watched_database, replica) -> None:
    run(watched_database, BIG)
    with sampling(watched_database, statement_timeout_ms=PATIENCE_MS) as sampler:
        looker = Looker(sampler, {"replication-lag": 2 * MIB})
        wait_for(watched_database, CAUGHT_UP)
        looker.look()
        run(replica.url(), "SELECT pg_wal_replay_pause()")
        run(watched_database, FILL)
        looker.look()
        looker.look()
        assert looker.told("replication-lag") == [AlertState.FIRING]
        [alert] = [alert for alert in looker.alerts if alert.rule == "replication-lag"]
        assert "walreceiver (streaming) is" in alert.message
        run(replica.url(), "SELECT pg_wal_replay_resume()")
        wait_for(watched_database, CAUGHT_UP)
        looker.look()
        looker.look()
    assert looker.told("replication-lag") == [AlertState.FIRING, AlertState.RESOLVED]


def test_a_replica_that_falls_behind_pauses_backfills_until_it_has_caught_up(
    watched_database, replica, make_target
) -> None:
    run(watched_database, BIG)
    policies = {"monitor_interval_s": 0.05, "impact_lag_bytes": 2 * MIB}
    asked = f"(\n{pause_asked_query()}\n)"
    with watching(DatabaseMonitor(make_target(watched_database, policies=policies), "r1")) as monitor:
        run(replica.url(), "SELECT pg_wal_replay_pause()")
        run(watched_database, FILL)
        wait_for(watched_database, asked)
        run(replica.url(), "SELECT pg_wal_replay_resume()")
        wait_for(watched_database, f"NOT {asked}")
    assert monitor.summary().throttled


CAUGHT_UP = (
    "EXISTS (SELECT FROM pg_stat_replication WHERE pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) < 65536)"
)
