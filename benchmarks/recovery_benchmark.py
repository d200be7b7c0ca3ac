"""Recoveries beside four writers: how much is lost (nothing), how long writes are refused, how long it takes.

    python -m benchmarks.recovery_benchmark --seed 7       # every kind, warm and cold, on 15, 16 and 18
    python -m benchmarks.recovery_benchmark --size-gb 0.1 1 --kind "corrupted values" --major 16 --way warm

Every line: what was broken, how it was taken back, what became of the acknowledged writes, for how long
nobody could write (by the report, and by the longest gap between two commits), and how long it took from the
failed verification to the verified recovery. Servers are durable (fsync on), unlike those of the tests.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

from pydantic import SecretStr

from lockkeeper.config import AlembicSettings, LocalStorageSettings, Policies, Target
from lockkeeper.engine import Engine
from lockkeeper.local.postgres_server import EmbeddedPostgres, available_bin_dirs, temporary_postgres
from lockkeeper.models import RunReport
from lockkeeper.postgres.connection import connect, execute
from tests.acceptance.conftest import SHOP_SQL, Shop, write_project
from tests.acceptance.journal_writers import (
    BAD_MIGRATIONS,
    WRITERS,
    Judgement,
    judge,
    prepare,
    wait_for_commits,
    writing,
)
from tests.acceptance.test_zero_loss import ColdEngine

DURABLE = {"fsync": "on", "synchronous_commit": "on", "shared_buffers": "256MB", "max_wal_size": "4GB"}
BALLAST = """
CREATE TABLE ballast (id bigint PRIMARY KEY, filler text NOT NULL);
INSERT INTO ballast SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, {rows}) n
"""
ROWS_PER_GB = 950_000


def make_shop(server: EmbeddedPostgres, folder: Path, name: str, size_gb: float) -> Shop:
    """Make a database of about ``size_gb`` with the writers' tables and a project."""
    with connect(server.url(), "benchmark") as connection:
        execute(connection, f"CREATE DATABASE {name}")
    url = server.url(name)
    project = folder / name
    write_project(project)
    with connect(url, "benchmark") as connection:
        execute(connection, SHOP_SQL)
        execute(connection, BALLAST.format(rows=int(size_gb * ROWS_PER_GB)))
        execute(connection, "CHECKPOINT")
    prepare(url)
    target = Target(
        name="shop",
        database_url=SecretStr(url.render_as_string(hide_password=False)),
        alembic=AlembicSettings(config_file=project / "alembic.ini", rules_dir=project / "rules"),
        storage=LocalStorageSettings(path=project / "storage"),
        policies=Policies(lock_timeout_ms=3000, lock_retries=20, rehearsal="off", keep_quarantine=False),
    )
    return Shop(url, project, target)


def play(shop: Shop, kind: str, way: str, seed: int, rate: float) -> tuple[RunReport, Judgement]:
    """Migrate badly beside four writers of ``rate`` transactions/s; returns the report and what became."""
    shop.add_revision("bad", f"op.execute({BAD_MIGRATIONS[kind]!r})", "raise NotImplementedError('none')")
    shop.add_rule("never_satisfied", "SELECT 1 AS broken")
    with writing(shop.url, seed=seed, pause_s=WRITERS / rate) as writers:
        wait_for_commits(writers, 50)
        report = shop.migrate(engine_type=Engine if way == "warm" else ColdEngine)
        wait_for_commits(writers, 50)
    return report, judge(shop.url, writers)


def line(report: RunReport, judgement: Judgement) -> str:
    """Say in one line how it went."""
    if report.restore is None:
        return f"NOT RECOVERED: {report.outcome} {report.error} {report.recovery}"
    last = report.recovery[-1]
    return (
        f"{last.rung}: {judgement}, {len(report.restore.parked)} parked, "
        f"{report.restore.replayed_changes} changes replayed, writes refused {report.restore.fence_s:.2f} s "
        f"(longest gap {judgement.longest_gap_s:.2f} s), detection to verified {last.duration_s:.2f} s"
    )


def main() -> None:
    """Play every case that was asked for; exits with an error unless all are clean."""
    parser = argparse.ArgumentParser(description=__doc__)
    majors = [major for major in (15, 16, 18) if major in available_bin_dirs()]
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--major", type=int, nargs="+", default=majors)
    parser.add_argument("--kind", nargs="+", default=list(BAD_MIGRATIONS))
    parser.add_argument("--way", nargs="+", default=["warm", "cold"])
    parser.add_argument("--size-gb", type=float, nargs="+", default=[0.01])
    parser.add_argument("--rate", type=float, default=300, help="transactions/s of all writers, at most")
    options = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory(prefix="lockkeeper-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for major in options.major:
            with temporary_postgres(folder, major=major, settings=DURABLE) as server:
                cases = itertools.product(options.size_gb, options.kind, options.way)
                for number, (size_gb, kind, way) in enumerate(cases):
                    shop = make_shop(server, folder, f"shop{major}_{number}", size_gb)
                    report, judgement = play(shop, kind, way, options.seed + number, options.rate)
                    bad += not judgement.is_clean or report.restore is None
                    print(f"{size_gb} GB, PostgreSQL {major}, {kind}: {line(report, judgement)}", flush=True)
                    with connect(server.url(), "benchmark") as connection:
                        execute(connection, f"DROP DATABASE {shop.target.database} WITH (FORCE)")
    raise SystemExit(f"{bad} recoveries were not clean" if bad else 0)


if __name__ == "__main__":
    main()
