"""Four writers go on while a bad migration is committed, noticed and taken back: 0 writes lost, 0 invented.

The short form of ``benchmarks/recovery_benchmark.py``, which plays every kind on every version in both ways.
"""

from __future__ import annotations

import pytest

from lockkeeper.engine import Engine
from lockkeeper.local.postgres_server import available_bin_dirs
from lockkeeper.models import Outcome, RunReport, WarmCopy
from lockkeeper.postgres.connection import connect, fetch_all, fetch_value
from tests.acceptance.journal_writers import BAD_MIGRATIONS, judge, prepare, wait_for_commits, writing

pytestmark = pytest.mark.load

MAJORS = [major for major in (15, 16, 18) if major in available_bin_dirs()]
WAYS = ["warm", "cold"]
COMBINATIONS = [
    (kind, MAJORS[number % len(MAJORS)], WAYS[(number + number // 3) % 2])
    for number, kind in enumerate(BAD_MIGRATIONS)
]
OUR_OBJECTS = """
SELECT 'slot ' || slot_name FROM pg_replication_slots
UNION ALL SELECT 'origin ' || roname FROM pg_replication_origin
UNION ALL SELECT 'publication ' || pubname FROM pg_publication
UNION ALL SELECT 'identity of ' || oid::regclass FROM pg_class
    WHERE relreplident = 'f' AND relnamespace = 'public'::regnamespace
UNION ALL SELECT 'database ' || datname FROM pg_database WHERE datname ~ '_lk_(verify|restore|rehearse)_'
UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = 'lockkeeper_replay'
"""


class ColdEngine(Engine):
    """Keeps no copy warm, as where the scratch databases are on another server."""

    def stand_by(self, backup, copy_database):
        return WarmCopy(warm=False, rehearsal_database=None, message="cold by order of the test")


def migrate_badly(shop, migration: str, way: str) -> RunReport:
    shop.with_policies(capture="auto", lock_timeout_ms=2000, lock_retries=20)
    shop.add_revision("bad", f"op.execute({migration!r})", "raise NotImplementedError('no way back')")
    shop.add_rule("never_satisfied", "SELECT 1 AS broken")
    return shop.migrate(engine_type=Engine if way == "warm" else ColdEngine)


@pytest.mark.parametrize(("kind", "major", "way"), COMBINATIONS)
def test_no_acknowledged_write_is_lost_and_none_invented(
    make_shop, servers, kind, major, way, capsys
) -> None:
    shop = make_shop(servers(major))
    prepare(shop.url)
    with writing(shop.url) as writers:
        wait_for_commits(writers, 20)
        report = migrate_badly(shop, BAD_MIGRATIONS[kind], way)
        wait_for_commits(writers, 20)
    judgement = judge(shop.url, writers)
    parked = report.restore.parked if report.restore else ()
    with capsys.disabled():
        print(f"\n{kind} on {major}, {way}: {judgement}, {len(parked)} parked")
    assert report.outcome is Outcome.RECOVERED, (report.error, report.recovery)
    assert report.recovery[-1].rung == {"warm": "warm swap", "cold": "restore with replay"}[way]
    assert (judgement.lost, judgement.invented, judgement.wrong[:5]) == ([], [], [])
    assert listed_parked(shop, report) == len(report.restore.parked)
    with connect(shop.url, "tests") as connection:
        assert fetch_all(connection, OUR_OBJECTS) == [], "nothing of the capture stays"


def listed_parked(shop, report: RunReport) -> int:
    if report.restore.parked_table is None:
        return 0
    with connect(shop.url, "tests") as connection:
        return int(fetch_value(connection, f"SELECT count(*) FROM {report.restore.parked_table}"))
