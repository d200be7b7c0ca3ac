"""A real replica that falls behind: told once, and backfills wait for it."""

from __future__ import annotations

from lockkeeper.backfill.throttle import pause_asked_query
from lockkeeper.monitoring import AlertState, DatabaseMonitor, watching
from lockkeeper.monitoring.sampler import sampling
from tests.integration.planting import BIG, FILL, PATIENCE_MS, Looker, run, wait_for

MIB = 2**20


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
