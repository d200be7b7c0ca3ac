"""The offsets that we write into an archive made to a pipe are those that pg_dump writes into a file."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from lockkeeper.backup.archive_index import write_offsets
from lockkeeper.backup.dump import client_environment
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.postgres.clients import ClientPrograms, find_client_programs
from lockkeeper.postgres.connection import connect, execute, fetch_value

TABLES = """
CREATE TABLE plain (id int, note text);
INSERT INTO plain SELECT n, repeat(md5(n::text), 1 + n %% 9) FROM generate_series(1, 3000) AS n;
CREATE TABLE empty (id int);
CREATE TABLE "odd ""name" (id serial, bytes bytea, long text);
INSERT INTO "odd ""name" (bytes, long)
SELECT decode(repeat('00', 40) || '0100', 'hex'), repeat('x', 255 * n) FROM generate_series(1, 300) AS n;
CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM plain;
-- Bytes that look like the end of a table and the beginning of every other.
SELECT lo_from_bytea(0, bytes) FROM (
    SELECT string_agg(decode('00000000000100' || lpad(to_hex(n), 2, '0') || '000000', 'hex'), '') AS bytes
    FROM generate_series(1, 255) AS n
) AS confusing, generate_series(1, 30);
"""


def dump(programs: ClientPrograms, url: URL, *options: str) -> bytes:
    argv = [str(programs.pg_dump), "-Fc", "-Z0", *options]
    return subprocess.run(
        argv, env=client_environment(url, "tests", None), check=True, capture_output=True
    ).stdout


@pytest.fixture
def archives(
    every_server: EmbeddedPostgres, make_database: Callable[..., URL], tmp_path: Path
) -> tuple[bytes, bytes]:
    """One database dumped through a pipe, and into a file."""
    url = make_database(every_server)
    with connect(url, "tests") as connection:
        execute(connection, TABLES, ())
        programs = find_client_programs(int(fetch_value(connection, "SHOW server_version_num")))
    seekable = tmp_path / "seekable"
    dump(programs, url, "-f", str(seekable))
    return dump(programs, url), seekable.read_bytes()


def test_a_piped_archive_becomes_the_seekable_one(archives: tuple[bytes, bytes], tmp_path: Path):
    piped, seekable = archives
    path = tmp_path / "piped"
    path.write_bytes(piped)
    assert piped[60:] != seekable[60:]
    with path.open("r+b") as file:
        assert write_offsets(file) >= 4
        assert write_offsets(file) == 0
    assert path.read_bytes()[60:] == seekable[60:]


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"PGDMP\x01\x63\x00\x04\x08\x01"])
def test_what_is_no_known_archive_is_left_alone(damage: bytes, tmp_path: Path):
    path = tmp_path / "archive"
    path.write_bytes(damage)
    with path.open("r+b") as file:
        assert write_offsets(file) == 0
    assert path.read_bytes() == damage


def test_a_truncated_archive_is_left_alone(archives: tuple[bytes, bytes], tmp_path: Path):
    path = tmp_path / "archive"
    for length in (100, 3000, 60_000):
        path.write_bytes(archives[0][:length])
        with path.open("r+b") as file:
            assert write_offsets(file) == 0
        assert path.read_bytes() == archives[0][:length]
