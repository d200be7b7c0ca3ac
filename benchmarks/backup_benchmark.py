"""Lockkeeper's backup and restore against ``pg_dump | gzip | upload`` and ``gunzip | psql``, side by side.

    python benchmarks/backup_benchmark.py [--size-mb 1000] [--major 16] [--rounds 2] [--jobs 4]
        [--write docs/benchmarks.md]

Everything is real: an embedded PostgreSQL with its default settings, ``rclone serve s3``, mixed types with
indexes and foreign keys. Client CPU is that of all programs but the two servers (and their children).
Ratios come from one run on one machine; absolute times mean nothing elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from psycopg2 import sql
from pydantic import SecretStr

from lockkeeper.backup.archive import RestoreOptions, restore_archive
from lockkeeper.backup.create import create_backup
from lockkeeper.backup.dump import client_environment
from lockkeeper.backup.manifest import load_manifest
from lockkeeper.backup.progress import silent
from lockkeeper.config import Policies, S3StorageSettings, Target
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.local.s3_server import EmbeddedS3
from lockkeeper.models import utc_now
from lockkeeper.postgres.clients import ClientPrograms, find_client_programs
from lockkeeper.postgres.connection import connect, execute, fetch_value
from lockkeeper.storage import open_storage

DATA_SQL = Path(__file__).with_name("backup_data.sql")
MEGABYTES_PER_100_000 = 176  # of the whole database, indexes included
BEGIN, END = "<!-- backup benchmark: begin -->", "<!-- backup benchmark: end -->"
UPLOAD = """
import json, os, sys, boto3
s = json.loads(os.environ["BENCH_S3"])
client = boto3.client("s3", endpoint_url=s["endpoint_url"], region_name=s["region"],
                      aws_access_key_id=s["access_key_id"], aws_secret_access_key=s["secret_access_key"])
client.upload_fileobj(sys.stdin.buffer, s["bucket"], "baseline.sql.gz")
"""
BARS = {
    "backup wall": 0.4,
    "backup client CPU": 0.3,
    "backup size": 1.0,
    "restore wall": 0.6,
    "restore wall, within a run": 0.6,
}


class Cost(NamedTuple):
    """What one way took; ``peak_mb`` is that of its largest process."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def measured(argv: list[str], env: dict[str, str], **options: object) -> Cost:
    """Run a program with all its children and measure it; it must succeed."""
    began = time.monotonic()
    process = subprocess.Popen(argv, env=env, **options)  # type: ignore[call-overload]
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{argv[0]} failed with exit code {process.returncode}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def storage_json(settings: S3StorageSettings) -> dict[str, object]:
    """Return the settings with their keys, for the environment of a measured program."""
    values = settings.model_dump()
    return {k: v.get_secret_value() if isinstance(v, SecretStr) else v for k, v in values.items()}


class Bench:
    """One database and one bucket, and the ways to take one to the other and back."""

    def __init__(self, server: EmbeddedPostgres, s3: EmbeddedS3, folder: Path, jobs: int) -> None:
        self.folder = folder
        self.s3 = s3
        self.server = server
        self.target = Target(
            name="bench",
            database_url=SecretStr(server.url("bench").render_as_string(hide_password=False)),
            storage=s3.settings("bench"),
            policies=Policies(restore_jobs=jobs),
        )
        with connect(server.url(), "bench") as connection:
            version = int(fetch_value(connection, "SHOW server_version_num"))
        self.programs: ClientPrograms = find_client_programs(version)
        self.env = client_environment(self.target.url, "bench", None)
        self.env["BENCH_S3"] = json.dumps(storage_json(s3.settings("bench")))

    def fill(self, size_mb: int) -> float:
        """Make the data and return the database's size in MB."""
        with connect(self.server.url(), "bench") as connection:
            execute(connection, "CREATE DATABASE bench")
        with connect(self.target.url, "bench") as connection:
            scale = max(4, size_mb * 100_000 // MEGABYTES_PER_100_000)
            execute(connection, DATA_SQL.read_text(), {"scale": scale})
            execute(connection, "VACUUM")
            execute(connection, "CHECKPOINT")
            return int(fetch_value(connection, "SELECT pg_database_size(current_database())")) / 1e6

    def baseline_backup(self) -> tuple[Cost, int]:
        """Take it the usual way; returns cost and size in bytes."""
        pipe = f'"{self.programs.pg_dump}" | gzip | "{sys.executable}" -c "$BENCH_UPLOAD"'
        script = f"set -o pipefail; {pipe}"
        cost = measured(["bash", "-c", script], {**self.env, "BENCH_UPLOAD": UPLOAD})
        size = open_storage(self.target.storage).size("baseline.sql.gz")
        return cost, size or 0

    def our_backup(self) -> tuple[Cost, str]:
        """Take it Lockkeeper's way, fingerprints and all; returns cost and id."""
        return self.our_way("backup")

    def baseline_restore(self) -> Cost:
        """Bring it back the usual way, from a local file (an advantage: no download)."""
        local = self.folder / "baseline.sql.gz"
        with local.open("wb") as file:
            for chunk in open_storage(self.target.storage).open_stream("baseline.sql.gz"):
                file.write(chunk)
        self.empty_database("back")
        pipe = (
            f'set -o pipefail; gunzip -c "{local}" | "{self.programs.psql}" -X -q -v ON_ERROR_STOP=1 -d back'
        )
        cost = measured(["bash", "-c", pipe], self.env, stdout=subprocess.DEVNULL)
        local.unlink()
        return cost

    def our_restore(self, backup_id: str) -> tuple[Cost, float]:
        """Bring it back as verification does: download, checksum, decompress, load and index in parallel.

        Returns what the whole program cost, and the seconds of the restore itself: what a run pays, whose
        process has started long before.
        """
        self.empty_database("back")
        cost, answer = self.our_way(backup_id)
        return cost, float(answer)

    def our_way(self, what: str) -> tuple[Cost, str]:
        """Do one thing Lockkeeper's way in a program of its own; returns cost and answer."""
        with tempfile.TemporaryFile("w+") as answer:
            cost = measured([sys.executable, __file__, "--child", what], self.child_env(), stdout=answer)
            answer.seek(0)
            return cost, answer.read().strip()

    def child_env(self) -> dict[str, str]:
        """Return the environment of our own way."""
        jobs = str(self.target.policies.restore_jobs)
        return {**self.env, "BENCH_URL": self.target.database_url.get_secret_value(), "BENCH_JOBS": jobs}

    def empty_database(self, name: str) -> None:
        """Make ``name`` anew and let the disk come to rest, so that no way pays for another's writes."""
        quoted = sql.Identifier(name)
        with connect(self.server.url(), "bench") as connection:
            execute(connection, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(quoted))
            execute(connection, sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(quoted))
            execute(connection, "CHECKPOINT")
        os.sync()


def child(what: str) -> None:
    """Do one thing in a process of its own, so that all of its memory and CPU is its own."""
    values = json.loads(os.environ["BENCH_S3"])
    target = Target(
        name="bench",
        database_url=SecretStr(os.environ["BENCH_URL"]),
        storage=S3StorageSettings.model_validate({k: v for k, v in values.items() if v is not None}),
        policies=Policies(restore_jobs=int(os.environ["BENCH_JOBS"])),
    )
    if what == "backup":
        print(create_backup(target, run_id="bench").id)
        return
    began, manifest = time.monotonic(), load_manifest(target, what)
    restore_archive(
        open_storage(target.storage),
        manifest,
        target.url.set(database="back"),
        find_client_programs(manifest.server_version_num),
        RestoreOptions(target.policies.restore_jobs, tablespaces=True, superuser=True),
        run_id="bench",
        progress=silent,
    )
    print(time.monotonic() - began)


def play_round(bench: Bench) -> dict[str, float]:
    """Run every way once, side by side, and print it; returns the ratios."""
    baseline, baseline_size = bench.baseline_backup()
    ours, backup_id = bench.our_backup()
    manifest = load_manifest(bench.target, backup_id)
    psql = bench.baseline_restore()
    restore, restore_itself_s = bench.our_restore(backup_id)
    for name, cost in {
        "pg_dump | gzip | upload": baseline,
        "lockkeeper backup": ours,
        "gunzip | psql": psql,
        "lockkeeper restore": restore,
    }.items():
        print(
            f"{name:26} wall {cost.wall_s:7.1f} s  client CPU {cost.cpu_s:6.1f} s  "
            f"peak {cost.peak_mb:5.0f} MB"
        )
    print(f"sizes: gzip {baseline_size / 1e6:.0f} MB, ours {(manifest.size_bytes or 0) / 1e6:.0f} MB")
    print(f"within our backup: {manifest.timings_s}", flush=True)
    return {
        "backup wall": ours.wall_s / baseline.wall_s,
        "backup client CPU": ours.cpu_s / baseline.cpu_s,
        "backup size": (manifest.size_bytes or 0) / baseline_size,
        "restore wall": restore.wall_s / psql.wall_s,
        "restore wall, within a run": restore_itself_s / psql.wall_s,
        "peak memory, MB": max(ours.peak_mb, restore.peak_mb),
        "wall of pg_dump, gzip and upload, s": baseline.wall_s,
        "wall of our backup, s": ours.wall_s,
        "wall of gunzip and psql, s": psql.wall_s,
        "wall of our restore, s": restore.wall_s,
    }


def table(rounds: list[dict[str, float]], size_mb: float, major: int) -> str:
    """Return the result as Markdown."""
    lines = [
        BEGIN,
        f"{utc_now():%Y-%m-%d}, PostgreSQL {major}, a database of {size_mb:.0f} MB, {os.cpu_count()} cores "
        f"({platform.machine()}), load average at the end {os.getloadavg()[0]:.1f}. "
        "`python benchmarks/backup_benchmark.py`",
        "",
        "| | bar | " + " | ".join(f"round {number}" for number in range(1, len(rounds) + 1)) + " |",
        "| --- | --- |" + " --- |" * len(rounds),
    ]
    for name in rounds[0]:
        bar = f"{BARS[name]:.1f}" if name in BARS else ("300" if name.startswith("peak") else "")
        values = " | ".join(f"{item[name]:.3f}" if name in BARS else f"{item[name]:.0f}" for item in rounds)
        lines.append(f"| {name} | {bar} | {values} |")
    return "\n".join([*lines, END])


def write(path: Path, text: str) -> None:
    """Put the result in its place in the document."""
    old = path.read_text() if path.exists() else "# Benchmarks\n"
    if BEGIN in old:
        head, _, rest = old.partition(BEGIN)
        path.write_text(head + text + rest.partition(END)[2])
    else:
        path.write_text(f"{old.rstrip()}\n\n## Backup and restore\n\n{text}\n")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size-mb", type=int, default=1000)
    parser.add_argument("--major", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=Policies().restore_jobs)
    parser.add_argument("--write", type=Path, help="Markdown file to put the result in")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child)
        return
    with tempfile.TemporaryDirectory(prefix="lockkeeper-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = EmbeddedPostgres(folder / "postgresql", major=arguments.major)
        s3 = EmbeddedS3(folder / "s3")
        try:
            server.start()
            s3.start()
            bench = Bench(server, s3, folder, arguments.jobs)
            size_mb = bench.fill(arguments.size_mb)
            print(f"a database of {size_mb:.0f} MB", flush=True)
            rounds = [play_round(bench) for _ in range(arguments.rounds)]
        finally:
            s3.destroy()
            server.destroy()
    text = table(rounds, size_mb, arguments.major)
    print(text)
    if arguments.write:
        write(arguments.write, text)


if __name__ == "__main__":
    main()
