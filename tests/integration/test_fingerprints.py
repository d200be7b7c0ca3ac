"""Fingerprints across servers, dumps, snapshots, roles and sessions."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from lockkeeper.errors import DatabaseError
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.models import SchemaFingerprint
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_value, libpq_environment
from lockkeeper.postgres.fingerprint import (
    compare_data,
    compare_schemas,
    data,
    data_fingerprint,
    schema_fingerprint,
)

RICH_SCHEMA = (Path(__file__).parent / "fingerprint_data" / "rich_schema.sql").read_text()
ROLES = "".join(
    f"DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object THEN END $$;"
    for role in ("lk_reader", "lk_owner")
)


def run(url: URL, script: str) -> None:
    with connect(url, "tests") as connection:
        execute(connection, script)


def schema_of(url: URL) -> SchemaFingerprint:
    with connect(url, "tests") as connection:
        return schema_fingerprint(connection)


def as_role(url: URL, role: str) -> URL:
    """The same database as a role without a password would see it: SET ROLE at the start of the session."""
    return url.update_query_dict({"options": f"-c role={role}"})


def dump_and_restore(server: EmbeddedPostgres, source: URL, copy: URL) -> None:
    environment = {**os.environ, **libpq_environment(source)}
    archive = server.data_dir.parent / f"{source.database}.dump"
    with archive.open("wb") as file:
        subprocess.run([server.bin_dir / "pg_dump", "-Fc"], env=environment, stdout=file, check=True)
    restore = [server.bin_dir / "pg_restore", "--exit-on-error", "-d", copy.database or "", archive]
    subprocess.run(restore, env={**os.environ, **libpq_environment(copy)}, check=True)
    archive.unlink()


@pytest.fixture
def rich(make_database) -> Callable[[EmbeddedPostgres], URL]:
    """Return a function: server -> URL of a new rich database."""

    def make(server: EmbeddedPostgres) -> URL:
        url = make_database(server)
        run(url, ROLES)
        run(url, RICH_SCHEMA)
        return url

    return make


def test_a_dump_and_restore_is_judged_equal(every_server, rich, make_database) -> None:
    source, copy = rich(every_server), make_database(every_server)
    dump_and_restore(every_server, source, copy)
    assert compare_schemas(schema_of(source), schema_of(copy)) == []
    assert compare_data(data_fingerprint(source), data_fingerprint(copy)) == []


def test_a_dump_of_15_restored_on_18_is_judged_equal(servers, rich, make_database) -> None:
    source, copy = rich(servers(15)), make_database(servers(18))
    run(copy, ROLES)
    dump_and_restore(servers(18), source, copy)
    assert compare_schemas(schema_of(source), schema_of(copy)) == []
    assert compare_data(data_fingerprint(source), data_fingerprint(copy)) == []


def test_hashes_are_what_they_were_in_earlier_releases(every_server, make_database) -> None:
    """Digests are stored in manifests: a change of any of these must change ``hashing.ALGORITHM``."""
    url = make_database(every_server)
    run(
        url,
        "CREATE TABLE t (i int, big int8, t text, f float8, n numeric, ts timestamptz, d date, b bytea,"
        " u uuid, flag bool, j jsonb, a int[], c char(3));"
        "INSERT INTO t VALUES (1, 1 << 40, 'é', -0.0::float8, 1.00, '2024-01-01', '2024-01-01', '\\x00ff',"
        " '12345678-1234-1234-1234-123456789abc', true, '{\"a\": 1.0}', '[0:1]={1,NULL}', 'x'),"
        " (NULL, 1::int8 << 60, '', 'NaN', 'NaN', 'infinity', '-infinity', '', NULL, false, 'null', '{}',"
        " NULL)",
    )
    table = data_fingerprint(url).tables["public.t"]
    assert {"rows": table.digest, **table.columns} == GOLDEN


GOLDEN = {
    "rows": "1-00000000000000002b3285d132337cd4",
    "i": "1-000000000000000065fcb30501e31259",
    "big": "1-ffffffffffffffff53f042156cd8865f",
    "t": "1-ffffffffffffffff64a42143d22e290a",
    "f": "1-00000000000000003c2e7ded6bbe4ddc",
    "n": "1-000000000000000096171fe71d811f45",
    "ts": "1-00000000000000007ec8735a2a1833fa",
    "d": "1-0000000000000000f5cac98ce6ee5d1b",
    "b": "1-fffffffffffffffffe79ed391cab427c",
    "u": "1-ffffffffffffffffeee5fdddc6c38bb1",
    "flag": "1-fffffffffffffffff5f57720e70e877d",
    "j": "1-ffffffffffffffffee7d7cbfbb2a3ef1",
    "a": "1-00000000000000001c626d5b64071800",
    "c": "1-ffffffffffffffffe67cdd170d59474b",
}


def test_slices_and_workers_do_not_change_a_digest(server, rich, monkeypatch) -> None:
    url = rich(server)
    whole = data_fingerprint(url, jobs=1)
    monkeypatch.setattr(data, "SLICE_BYTES", 8192)
    monkeypatch.setattr(data, "WORKER_BYTES", 1)
    assert data_fingerprint(url, jobs=4) == whole
    without_columns = data_fingerprint(url, jobs=4, columns=False)
    assert {name: table.digest for name, table in without_columns.tables.items()} == {
        name: table.digest for name, table in whole.tables.items()
    }
    assert all(not table.columns for table in without_columns.tables.values())


def test_a_fingerprint_is_of_the_snapshot_that_it_was_asked_for(server, database, monkeypatch) -> None:
    monkeypatch.setattr(data, "SLICE_BYTES", 8192)
    monkeypatch.setattr(data, "WORKER_BYTES", 1)
    run(database, "CREATE TABLE t AS SELECT i, repeat('x', 50) AS x FROM generate_series(1, 2000) AS i")
    before = data_fingerprint(database)
    with connect(database, "tests", autocommit=False) as keeper:
        execute(keeper, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        snapshot = fetch_value(keeper, "SELECT pg_export_snapshot()")
        run(database, "DELETE FROM t WHERE i < 1000; UPDATE t SET x = 'y'; INSERT INTO t VALUES (0, 'z')")
        assert data_fingerprint(database, snapshot=snapshot, jobs=3) == before
    assert compare_data(before, data_fingerprint(database)) == [
        "table public.t: 2000 rows before, 1002 rows after"
    ]


def test_nothing_above_access_share_is_locked(server, rich) -> None:
    url = rich(server)
    with data.reading_session(url) as session:
        tables = data.list_tables(session)
        data._lock_tables(session, tables)
        data.read_large_objects(session)
        data.read_sequences(session)
        modes = "SELECT DISTINCT mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'"
        assert fetch_all(session, modes) == [("AccessShareLock",)]
    with connect(url, "tests", autocommit=False) as writer:
        execute(writer, "LOCK TABLE shop.users IN EXCLUSIVE MODE")
        execute(writer, "INSERT INTO shop.child VALUES (7, 7)")
        data_fingerprint(url)
        schema_fingerprint(writer)


def test_a_table_that_may_not_be_read_is_an_error_that_names_it(server, rich) -> None:
    url = rich(server)
    with pytest.raises(DatabaseError, match=r"shop\.users, .* cannot be read: the role has no SELECT"):
        data_fingerprint(as_role(url, "lk_reader"))


def test_a_table_that_is_not_there_is_an_error_that_names_it(database) -> None:
    with pytest.raises(DatabaseError, match=r"no table public\.nothing"):
        data_fingerprint(database, tables=["public.nothing"])


def test_a_table_filtered_by_row_level_security_is_an_error_that_names_it(server, rich) -> None:
    url = rich(server)
    run(
        url,
        "GRANT USAGE ON SCHEMA shop TO lk_reader; GRANT SELECT ON ALL TABLES IN SCHEMA shop TO lk_reader",
    )
    with pytest.raises(DatabaseError, match=r"table shop\.users cannot be read.*row-level security"):
        data_fingerprint(as_role(url, "lk_reader"), tables=["shop.users", "shop.child"])
    assert data_fingerprint(as_role(url, "lk_reader"), tables=["shop.child"]).tables["shop.child"].rows == 1


def test_an_error_in_any_worker_names_its_table_and_ends_the_others(server, database, monkeypatch) -> None:
    monkeypatch.setattr(data, "WORKER_BYTES", 1)
    run(
        database,
        "CREATE TABLE a AS SELECT i FROM generate_series(1, 5000) AS i; CREATE TABLE b (i int);"
        "CREATE ROLE lk_secret; CREATE TABLE c AS SELECT 1 AS i; ALTER TABLE c ENABLE ROW LEVEL SECURITY;"
        "GRANT SELECT ON a, b, c TO lk_secret",
    )
    with pytest.raises(DatabaseError, match=r"table public\.c cannot be read"):
        data_fingerprint(as_role(database, "lk_secret"), jobs=3)
    run(database, "DROP OWNED BY lk_secret; DROP ROLE lk_secret")


def test_a_role_without_pg_largeobject_gets_the_same_digest_of_large_objects(server, rich) -> None:
    url = rich(server)
    run(
        url,
        "GRANT SELECT ON LARGE OBJECT 4711 TO lk_reader; GRANT SELECT ON LARGE OBJECT 4712 TO lk_reader",
    )
    with data.reading_session(url) as superuser, data.reading_session(as_role(url, "lk_reader")) as reader:
        assert data.read_large_objects(superuser) == data.read_large_objects(reader)
    run(url, "REVOKE SELECT ON LARGE OBJECT 4712 FROM lk_reader")
    with (
        data.reading_session(as_role(url, "lk_reader")) as reader,
        pytest.raises(DatabaseError, match=r"large objects cannot be read.*4712"),
    ):
        data.read_large_objects(reader)


def test_what_a_migration_did_not_add_can_be_compared_row_by_row(server, database) -> None:
    run(database, "CREATE TABLE t AS SELECT i, i * 2 AS j FROM generate_series(1, 100) AS i")
    before = data_fingerprint(database)
    run(database, "ALTER TABLE t ADD COLUMN status text DEFAULT 'new'; CREATE TABLE added (i int)")
    assert compare_data(before, data_fingerprint(database, like=before)) == []
    assert compare_data(before, data_fingerprint(database)) == [
        "unexpected table public.added (0 rows)",
        "table public.t: unexpected column status",
    ]
    run(database, "UPDATE t SET j = CASE i WHEN 1 THEN 4 ELSE 2 END WHERE i < 3")
    (found,) = compare_data(before, data_fingerprint(database, like=before))
    assert "exchanged between rows" in found


def test_integers_keep_their_digest_when_their_type_grows(server, database) -> None:
    run(database, "CREATE TABLE t AS SELECT i::int2 AS i FROM generate_series(-100, 100) AS i")
    before = data_fingerprint(database)
    for bigger in ("int4", "int8"):
        run(database, f"ALTER TABLE t ALTER i TYPE {bigger}")
        assert compare_data(before, data_fingerprint(database)) == []


def test_virtual_generated_columns_count_by_value(servers, make_database) -> None:
    url = make_database(servers(18))
    run(url, "CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a * 2)); INSERT INTO t VALUES (1), (2)")
    before = data_fingerprint(url)
    run(url, "ALTER TABLE t ALTER b SET EXPRESSION AS (a * 3)")
    (found,) = compare_data(before, data_fingerprint(url))
    assert found == "table public.t: content of column b differs (2 rows on both sides)"


def test_a_not_null_that_children_do_not_inherit_is_another_one(servers, make_database) -> None:
    url = make_database(servers(18))
    run(url, "CREATE TABLE t (a int CONSTRAINT here NOT NULL NO INHERIT)")
    before = schema_of(url)
    run(url, "ALTER TABLE t ALTER CONSTRAINT here INHERIT")
    assert compare_schemas(before, schema_of(url)) == [
        "column public.t.a is NOT NULL in its children, too",
    ]
    earlier = schema_of(url)
    for one in (earlier, before):
        assert one.objects["column"]["public.t.a"]["not null"] == "yes", "as earlier releases have written it"
    del earlier.objects["column"]["public.t.a"]["not null for children"]
    assert compare_schemas(earlier, before) == [], "what a manifest does not know is no difference"


def test_xml_and_types_of_extensions_are_hashed_by_their_text(servers, make_database) -> None:
    url = make_database(servers(15))
    run(
        url,
        "CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE TABLE t (c citext, h hstore, x xml);"
        "INSERT INTO t VALUES ('A', 'a=>NULL', '<a/>')",
    )
    for column, value in (("c", "'a'"), ("h", "'a=>\"NULL\"'"), ("x", "'<a></a>'")):
        before = data_fingerprint(url)
        run(url, f"UPDATE t SET {column} = {value}")
        assert f"column {column} differs" in " ".join(compare_data(before, data_fingerprint(url)))
    assert not [name for name in schema_of(url).objects.get("function", {}) if "citext" in name]


def test_text_that_a_collation_calls_equal_is_different_content(servers, make_database) -> None:
    url = make_database(servers(15))
    run(
        url,
        "CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
        "CREATE TABLE t (a text COLLATE any_case, b varchar(9) COLLATE any_case);"
        "INSERT INTO t VALUES ('A', 'B')",
    )
    before = data_fingerprint(url)
    run(url, "UPDATE t SET a = 'a', b = 'b'")
    assert compare_data(before, data_fingerprint(url)) == [
        "table public.t: content of columns a, b differs (1 row on both sides)"
    ]


def test_the_widest_table_and_a_value_of_30_megabytes_can_be_read(server, database) -> None:
    columns = ", ".join(f"c{i} int DEFAULT {i}" for i in range(1600))
    run(database, f"CREATE TABLE wide ({columns}); INSERT INTO wide DEFAULT VALUES")
    run(
        database,
        "CREATE TABLE big (b bytea); ALTER TABLE big ALTER b SET STORAGE EXTERNAL;"
        "INSERT INTO big VALUES (convert_to(repeat('x', 30000000), 'UTF8'))",
    )
    before = data_fingerprint(database)
    assert len(before.tables["public.wide"].columns) == 1600
    run(database, "UPDATE big SET b = set_byte(b, 29999999, 0)")
    assert len(compare_data(before, data_fingerprint(database))) == 1
