"""No alert on an hour's worth of normal load; the minutes between its looks are simulated."""

from __future__ import annotations

import contextlib

from lockkeeper.monitoring.sampler import sampling
from tests.integration.planting import BIG, PATIENCE_MS, SETUP, Looker, application, run

MINUTE_OF_LOAD = """CREATE PROCEDURE a_minute(minute int) LANGUAGE plpgsql AS $$
BEGIN
    FOR n IN 1..1000 LOOP
        UPDATE t SET v = 'order ' || n WHERE id = 1 + (minute * 977 + n * 31) % 5000;
        INSERT INTO big SELECT 'line ' || n WHERE n % 10 = 0;
        PERFORM v FROM t WHERE id = n;
        IF n % 50 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
    END LOOP;
END $$"""


def test_an_hour_of_normal_load_tells_nothing(watched_database) -> None:
    """61,000 transactions, one of fifty rolled back, with autovacuum's and checkpoints' work."""
    run(watched_database, SETUP, BIG, "INSERT INTO t SELECT n, 'x' FROM generate_series(1001, 5000) n")
    run(watched_database, "ANALYZE t", MINUTE_OF_LOAD)
    with (
        sampling(watched_database, statement_timeout_ms=PATIENCE_MS) as sampler,
        contextlib.closing(application(watched_database)),
        contextlib.closing(application(watched_database)),
    ):
        looker = Looker(sampler, {"disk-used": float("inf")})  # the disk is this machine's, not the load's
        for minute in range(61):
            run(watched_database, f"CALL a_minute({minute})")
            if minute % 2:
                run(watched_database, "VACUUM ANALYZE t, big")
            if minute % 5 == 0:
                run(watched_database, "CHECKPOINT")
            looker.look()
    assert looker.alerts == []
