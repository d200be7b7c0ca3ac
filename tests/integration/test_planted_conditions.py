"""Conditions planted on a real server: each is told once within two looks, and its end once."""

from __future__ import annotations

import pytest

from lockkeeper.monitoring import AlertState
from lockkeeper.monitoring.sampler import sampling
from tests.integration.planted_conditions import PLANTED
from tests.integration.planting import BIG, BURN, PATIENCE_MS, SETUP, Looker, run

MULTIXACTS = """DO $$ BEGIN FOR n IN 1..400 LOOP
    PERFORM FROM t WHERE id = 1 FOR KEY SHARE;
    BEGIN UPDATE t SET v = 'y' WHERE id = 1; RAISE EXCEPTION 'x'; EXCEPTION WHEN OTHERS THEN NULL; END;
END LOOP; END $$"""


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.rule)
def test_a_planted_condition_is_told_once_and_its_end_once(watched_database, planted) -> None:
    run(watched_database, SETUP, BIG)
    run(watched_database, "ANALYZE t")
    with sampling(watched_database, statement_timeout_ms=PATIENCE_MS) as sampler:
        looker = Looker(sampler, {planted.rule: planted.limit})
        looker.look()
        assert looker.told(planted.rule) == []
        with planted.plant(watched_database, sampler) as again:
            for _ in range(2):
                again()
                looker.look()
            assert looker.told(planted.rule)[:1] == [AlertState.FIRING]
            again()
            looker.look()
        for _ in range(3):
            looker.look()
    assert looker.told(planted.rule) == [AlertState.FIRING, AlertState.RESOLVED]


def test_the_age_of_transaction_ids_is_told_and_a_freeze_ends_it(watched_database) -> None:
    run(watched_database, SETUP)
    with sampling(watched_database, statement_timeout_ms=PATIENCE_MS) as sampler:
        now = sampler.vitals().database
        looker = Looker(sampler, {"wraparound": (now.xid_age + 500) / now.freeze_max_age})
        looker.look()
        run(watched_database, BURN)
        looker.look()
        assert looker.told("wraparound") == [AlertState.FIRING]
        run(watched_database, "VACUUM (FREEZE)")
        looker.look()
    assert looker.told("wraparound") == [AlertState.FIRING, AlertState.RESOLVED]


def test_the_age_of_multixacts_is_told_and_a_freeze_ends_it(watched_database) -> None:
    run(watched_database, SETUP)
    with sampling(watched_database, statement_timeout_ms=PATIENCE_MS) as sampler:
        now = sampler.vitals().database
        looker = Looker(sampler, {"multixact-wraparound": (now.mxid_age + 300) / now.mxid_freeze_max_age})
        looker.look()
        run(watched_database, MULTIXACTS)
        looker.look()
        assert looker.told("multixact-wraparound") == [AlertState.FIRING]
        run(watched_database, "VACUUM (FREEZE)")
        looker.look()
    assert looker.told("multixact-wraparound") == [AlertState.FIRING, AlertState.RESOLVED]
