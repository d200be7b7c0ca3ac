"""Is every planted corruption of a database that nobody here has chosen found and named, and nothing else?

    python -m benchmarks.corruption_benchmark --sample zabbix=schema.sql.gz,data.sql.gz --sample davical=d.sql

A sample is a name and SQL files (plain or gzip), loaded in that order; tables that stay empty get made-up
rows. For each sample: a backup is restored and compared, as a migration does (equal?); then each corruption
of ``benchmarks.corruptions`` is planted in a clone, in an object chosen by chance, and the clone is compared
with the sample (found? named: table and column, or object?); then each harmless difference (silent?).
"""

from __future__ import annotations

import argparse
import gzip
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from psycopg2 import sql
from pydantic import SecretStr
from sqlalchemy.engine import URL

from benchmarks.corruptions import CONTENT, HARMLESS, SCHEMA
from lockkeeper.backup import create_backup, verify_backup
from lockkeeper.backup.dump import client_environment
from lockkeeper.config import LocalStorageSettings, Target
from lockkeeper.errors import DatabaseError
from lockkeeper.local.postgres_server import EmbeddedPostgres, temporary_postgres
from lockkeeper.models import DataFingerprint, SchemaFingerprint
from lockkeeper.postgres.clients import find_client_programs
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_value
from lockkeeper.postgres.fingerprint import (
    compare_data,
    compare_schemas,
    data_fingerprint,
    schema_fingerprint,
)
from lockkeeper.testdata import Filler

ATTEMPTS = 60
"""How many candidates of one kind are tried: constraints and other objects forbid some of them."""
ROWS = 40


class Taken(NamedTuple):
    """Both fingerprints of a database."""

    schema: SchemaFingerprint
    data: DataFingerprint


class Count(NamedTuple):
    """What became of one list of changes: tried, and those that were judged wrongly, with what was said."""

    tried: int
    wrong: list[str]
    nothing_to_hit: list[str]


def take(url: URL) -> Taken:
    """Take both fingerprints."""
    with connect(url, "bench") as connection:
        schema = schema_fingerprint(connection)
    return Taken(schema, data_fingerprint(url))


def differences(before: Taken, after: Taken) -> list[str]:
    """Return what Lockkeeper says is different."""
    return compare_schemas(before.schema, after.schema) + compare_data(before.data, after.data)


def load(server: EmbeddedPostgres, name: str, files: list[Path]) -> URL:
    """Make the sample with psql, which goes on after errors as its users would; fill what stays empty."""
    with connect(server.url(), "bench") as connection:
        execute(connection, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        version = int(fetch_value(connection, "SHOW server_version_num"))
    url = server.url(name)
    psql = [str(find_client_programs(version).psql), "-X", "-q", "-d", name]
    for file in files:
        text = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        subprocess.run(
            psql, input=text, env=client_environment(url, "bench", None), capture_output=True, check=False
        )
    with connect(url, "bench") as connection:
        execute(connection, "ANALYZE")
    Filler(url, ROWS, seed=7).fill()
    return url


def round_trip(url: URL, folder: Path) -> str:
    """Back the sample up, restore and compare it; returns what was covered."""
    target = Target(
        name="sample",
        database_url=SecretStr(url.render_as_string(hide_password=False)),
        storage=LocalStorageSettings(path=folder),
    )
    made = create_backup(target, run_id="bench")
    _, verification = verify_backup(target, made.id, run_id="bench")
    return f"{verification.tables} tables and {verification.rows} rows restored and equal"


@contextmanager
def clone(url: URL) -> Iterator[URL]:
    """Yield a clone that is dropped afterwards."""
    name = f"{url.database}_clone"
    quoted = sql.Identifier(name)
    with connect(url.set(database="postgres"), "bench") as connection:
        execute(
            connection,
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(quoted, sql.Identifier(str(url.database))),
        )
        try:
            yield url.set(database=name)
        finally:
            execute(connection, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(quoted))


def plant(
    url: URL, candidates: str, chance: random.Random, *, content: bool, silent: bool
) -> tuple[str, list[str]] | None:
    """Change something by the first candidate that PostgreSQL takes; returns it, and what must be named.

    ``content``: it must hit a row. ``silent``: without triggers, which would undo it or cascade.
    """
    with connect(url, "bench") as connection:
        found = fetch_all(connection, candidates)
        chance.shuffle(found)
        for statement, *names in found[:ATTEMPTS]:
            try:
                if silent:
                    execute(connection, "SET session_replication_role = replica")
                if _changed(connection, statement, content):
                    return statement, names
            except DatabaseError:
                continue
    return None


def _changed(connection, statement: str, content: bool) -> bool:
    """Run the statement as psql would; whether a row was hit, where that matters."""
    with connection.cursor() as cursor:
        try:
            if not content:
                for part in statement.split("; "):
                    cursor.execute(part)
                return True
            cursor.execute(statement)
            return cursor.rowcount > 0
        except Exception as error:
            raise DatabaseError(str(error)) from error


def corrupt(url: URL, before: Taken, seed: int) -> Count:
    """Plant every corruption; wrong are those that were not found, or not named."""
    wrong, nothing, tried = [], [], 0
    for name, candidates in {**CONTENT, **SCHEMA}.items():
        with clone(url) as copy:
            of_rows = name in CONTENT
            chance = random.Random(f"{seed} {name}")
            planted = plant(copy, candidates, chance, content=of_rows, silent=of_rows)
            if planted is None:
                nothing.append(name)
                continue
            tried += 1
            statement, names = planted
            said = differences(before, take(copy))
        if not any(all(one in line for one in names) for line in said):
            wrong.append(f"{name}: {statement}\n      must name {names}; said: {said[:4]}")
    return Count(tried, wrong, nothing)


def leave(url: URL, before: Taken, seed: int) -> Count:
    """Make every harmless difference; wrong are those of which anything was said."""
    wrong, nothing, tried = [], [], 0
    for name, candidates in HARMLESS.items():
        with clone(url) as copy:
            chance = random.Random(f"{seed} {name}")
            planted = plant(copy, candidates, chance, content=False, silent=True)
            if planted is None:
                nothing.append(name)
                continue
            tried += 1
            said = differences(before, take(copy))
        if said:
            wrong.append(f"{name}: {planted[0]}\n      said: {said[:4]}")
    return Count(tried, wrong, nothing)


def show(what: str, count: Count) -> None:
    """Print one list's result."""
    print(f"  {what}: {count.tried - len(count.wrong)} of {count.tried}")
    for line in count.wrong:
        print(f"    WRONG {line}")
    if count.nothing_to_hit:
        print(f"    nothing to hit for: {', '.join(count.nothing_to_hit)}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sample", action="append", required=True, metavar="NAME=FILE[,FILE...]")
    parser.add_argument("--major", type=int, default=16)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}, PostgreSQL {options.major}")
    with tempfile.TemporaryDirectory(prefix="lockkeeper-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with temporary_postgres(folder, major=options.major) as server:
            with connect(server.url(), "bench") as connection:
                execute(connection, "CREATE ROLE lk_somebody")
            for sample in options.sample:
                title, _, files = sample.partition("=")
                url = load(server, title, [Path(file) for file in files.split(",")])
                before = take(url)
                print(f"{title}: {round_trip(url, folder / title)}", flush=True)
                show("corruptions found and named", corrupt(url, before, options.seed))
                show("harmless differences, silent", leave(url, before, options.seed))


if __name__ == "__main__":
    main()
