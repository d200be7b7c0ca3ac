"""What a migration may cost the application is kept: by a cancel, which then recovers as any failure does."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from lockkeeper.backfill.throttle import pause_asked_query
from lockkeeper.engine import Engine
from lockkeeper.models import Outcome
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_value

BUDGET_S = 1.0
REACTION_S = 1.0
NOISE_S = 1.0
"""What a busy machine may add to the promise; the migration itself would block for a minute."""
HOLDS_THE_LOCK = {
    "in a statement": 'op.execute("LOCK TABLE users; SELECT pg_sleep(60)")',
    "idle in its transaction": (
        'op.execute("LOCK TABLE users")\nif not op.get_context().as_sql:\n    time.sleep(60)'
    ),
    "in a statement that catches its cancel": (
        'op.execute("LOCK TABLE users; DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(60); '
        'EXCEPTION WHEN query_canceled THEN END; END LOOP; END $$")'
    ),
    "catching the end of its statement": (
        'try:\n    op.execute("LOCK TABLE users; SELECT pg_sleep(60)")\nexcept Exception:\n    time.sleep(60)'
    ),
}


class Writers:
    """Update a row over and over; know their longest wait."""

    def __init__(self, url) -> None:
        self._url = url
        self._stop = threading.Event()
        self.longest_s = 0.0
        self.writes = 0

    def run(self) -> None:
        with connect(self._url, "shop-application") as connection:
            while not self._stop.is_set():
                started = time.monotonic()
                execute(connection, "UPDATE users SET balance = balance + 1 WHERE id = 1")
                self.longest_s = max(self.longest_s, time.monotonic() - started)
                self.writes += 1
                self._stop.wait(0.01)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writers]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()


@pytest.mark.parametrize("how", HOLDS_THE_LOCK)
def test_a_migration_that_blocks_writers_beyond_its_budget_is_cancelled_within_a_second(shop, how) -> None:
    shop.with_policies(
        impact_block_s=BUDGET_S, impact_action="cancel", impact_probe_sql="TABLE orders LIMIT 1"
    )
    shop.add_revision("r1", HOLDS_THE_LOCK[how])
    started = time.monotonic()
    with Writers(shop.url).writing() as writers:
        report = shop.migrate()
    assert time.monotonic() - started < 50  # nobody waits for what sleeps on
    assert report.outcome is Outcome.UNCHANGED, report.error
    assert report.error.startswith(
        "Cancelled by the impact budget: the migration makes others wait longer than 1 s"
    )
    assert "shop-application" in report.error
    assert "RowExclusiveLock on users" in report.error
    assert writers.longest_s < BUDGET_S + REACTION_S + NOISE_S, writers.longest_s
    assert report.monitor.cancelled
    assert "critical: impact-budget on shop" in report.monitor.alerts[0]
    assert "resolved: impact-budget" in report.monitor.alerts[-1]
    assert len(report.monitor.alerts) == 2
    assert report.monitor.probe.probes > 0


def test_a_crossed_budget_asks_backfills_to_pause_and_warns_but_ends_nothing(shop) -> None:
    shop.with_policies(impact_block_s=0.3)
    shop.add_revision("r1", 'op.execute("LOCK TABLE users; SELECT pg_sleep(2)")')
    asked: list[bool] = []
    ended = threading.Event()

    def ask() -> None:
        with connect(shop.url, "backfill") as connection:
            while not ended.wait(0.05):
                asked.append(fetch_value(connection, pause_asked_query()))

    backfill = threading.Thread(target=ask)
    backfill.start()
    with Writers(shop.url).writing():
        report = shop.migrate()
    ended.set()
    backfill.join()
    assert report.outcome is Outcome.SUCCEEDED, report.error
    assert report.monitor.throttled
    assert any(asked)
    with connect(shop.url, "backfill") as connection:
        assert not fetch_value(connection, pause_asked_query())
    assert report.monitor.cancelled is None


def test_a_session_that_idles_in_the_migrations_way_is_ended_only_when_the_policy_says_so(shop) -> None:
    shop.with_policies(end_idle_blockers_s=0.2, lock_timeout_ms=2000)
    shop.add_revision("r1", 'op.execute("ALTER TABLE users ADD COLUMN status text")')
    with connect(shop.url, "forgotten", autocommit=False) as idle:

        class Held(Engine):
            """Somebody begins to idle when the migration begins: before that, preflight would refuse."""

            def migrate(self, plan, backup):
                fetch_all(idle, "SELECT id FROM users LIMIT 1")
                return super().migrate(plan, backup)

        report = shop.migrate(engine_type=Held)
    assert report.outcome is Outcome.SUCCEEDED, report.error
    assert "lockkeeper:forgotten" in report.monitor.ended_sessions[0]
