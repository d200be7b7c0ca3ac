"""Who waits for whom, where that is hard to tell: prepared transactions, and queues of hundreds."""

from __future__ import annotations

from lockkeeper.monitoring.sampler import sampling
from tests.integration.planting import (
    PATIENCE_MS,
    SETUP,
    busy,
    holding,
    prepared_transaction,
    run,
    wait_for,
)


def test_a_prepared_transaction_that_others_wait_for_is_named(watched_database) -> None:
    run(watched_database, SETUP)
    with (
        sampling(watched_database, statement_timeout_ms=PATIENCE_MS) as sampler,
        prepared_transaction(watched_database, sampler),
        busy(watched_database, "UPDATE t SET v = 'b' WHERE id = 1"),
    ):
        [wait] = sampler.activity().waits
    assert wait.blocker_pid == 0
    assert "a prepared transaction, see pg_prepared_xacts" in wait.blocker


def test_a_queue_of_hundreds_is_bounded_and_the_root_of_each_wait_is_kept(watched_database) -> None:
    run(watched_database, SETUP)
    queue = ["UPDATE t SET v = 'b' WHERE id = 1"] * 30
    with (
        sampling(watched_database, statement_timeout_ms=PATIENCE_MS) as sampler,
        holding(watched_database, "UPDATE t SET v = 'a' WHERE id = 1"),
        busy(watched_database, *queue),
    ):
        wait_for(watched_database, "(SELECT count(*) FROM pg_locks WHERE NOT granted) >= 30")
        activity = sampler.activity()
    assert len(activity.waits) <= 30 * 5
    [root] = activity.roots()
    assert len(activity.blocked_by([root])) == 30
