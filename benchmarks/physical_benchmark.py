"""Seconds per GB of a dump and of a physical backup, there and back, side by side in one run.

    python benchmarks/physical_benchmark.py [--sizes-mb 300 1200] [--major 16] [--jobs 4]

Real servers, storage in a folder, mixed types with indexes and foreign keys (``backup_data.sql``). "Back" is
until the copy answers; reading and comparing every row, which both do, is told apart. The line through two
sizes gives the seconds per GB, and where a way back crosses an objective of five minutes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr

from lockkeeper.backup import create_backup, verify_backup
from lockkeeper.config import LocalStorageSettings, Policies, Target
from lockkeeper.local.postgres_server import temporary_postgres
from lockkeeper.physical import create_physical_backup, verify_physical_backup
from lockkeeper.postgres.connection import connect, execute, fetch_value

DATA_SQL = Path(__file__).with_name("backup_data.sql")
MEGABYTES_PER_100_000 = 176
OBJECTIVE_S = 300.0


class Figures(NamedTuple):
    """What one way took for one size."""

    gb: float
    there_s: float
    back_s: float
    compare_s: float
    stored_gb: float


def play(size_mb: int, major: int, jobs: int, folder: Path) -> dict[str, Figures]:
    """Make a database of about that size and take it both ways."""
    with temporary_postgres(folder, major=major) as server:
        url = server.url()
        with connect(url, "bench") as connection:
            scale = max(4, size_mb * 100_000 // MEGABYTES_PER_100_000)
            execute(connection, DATA_SQL.read_text(), {"scale": scale})
            execute(connection, "VACUUM ANALYZE")
            execute(connection, "CHECKPOINT")
            gb = int(fetch_value(connection, "SELECT pg_database_size(current_database())")) / 1e9
        target = Target(
            name="bench",
            database_url=SecretStr(url.render_as_string(hide_password=False)),
            storage=LocalStorageSettings(path=folder / "storage"),
            policies=Policies(restore_jobs=jobs, physical_folder=str(folder / "back")),
        )
        figures = {}
        for name, create, verify in (
            ("dump", create_backup, verify_backup),
            ("physical", create_physical_backup, verify_physical_backup),
        ):
            os.sync()
            made = create(target, run_id="bench")
            os.sync()
            manifest, proof = verify(target, made.id, run_id="bench")
            figures[name] = Figures(
                gb,
                manifest.timings_s["total"],
                proof.restore_s,
                proof.duration_s - proof.restore_s,
                (manifest.size_bytes or 0) / 1e9,
            )
            shown = figures[name]
            print(
                f"{gb:5.2f} GB {name:9} there {shown.there_s:6.1f} s  back {shown.back_s:6.1f} s  "
                f"compare {shown.compare_s:5.1f} s  stored {shown.stored_gb:.2f} GB",
                flush=True,
            )
    return figures


def line(small: Figures, large: Figures, what: str) -> tuple[float, float]:
    """Return the seconds at no data at all, and those per GB."""
    slope = (getattr(large, what) - getattr(small, what)) / (large.gb - small.gb)
    return getattr(small, what) - slope * small.gb, slope


def main() -> None:
    """Run the benchmark and print its lines."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes-mb", type=int, nargs=2, default=[300, 1200])
    parser.add_argument("--major", type=int, default=16)
    parser.add_argument("--jobs", type=int, default=Policies().restore_jobs)
    arguments = parser.parse_args()
    results = []
    for size_mb in arguments.sizes_mb:
        with tempfile.TemporaryDirectory(prefix="lockkeeper-bench-") as name:
            Path(name).chmod(0o755)
            results.append(play(size_mb, arguments.major, arguments.jobs, Path(name)))
    small, large = results
    for name in small:
        for what in ("there_s", "back_s", "compare_s"):
            fixed, slope = line(small[name], large[name], what)
            print(f"{name:9} {what:10} {fixed:5.1f} s + {slope:5.1f} s per GB", flush=True)
        fixed, slope = line(small[name], large[name], "back_s")
        compared = line(small[name], large[name], "compare_s")
        total = slope + compared[1]
        print(
            f"{name:9} back and compared within {OBJECTIVE_S:.0f} s up to "
            f"{(OBJECTIVE_S - fixed - compared[0]) / total:.0f} GB"
        )
    print(f"{os.cpu_count()} cores, PostgreSQL {arguments.major}, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
