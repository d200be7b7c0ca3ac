"""Which rows differ from what they were: how many, in which columns, their keys, and no other content."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.engine import URL

from lockkeeper.errors import DatabaseError
from lockkeeper.postgres.connection import Connection, connect, execute, fetch_all
from lockkeeper.postgres.fence import transaction
from lockkeeper.postgres.fingerprint import RowDifferences, RowMemory, data_fingerprint, schema_fingerprint
from lockkeeper.postgres.fingerprint.data import Table, list_tables
from lockkeeper.proving.data_findings import AFTER_UPGRADE, data_findings, rewritten_columns

ROWS = """
CREATE TABLE t (tenant int, id text, secret text, n numeric, PRIMARY KEY (id, tenant));
INSERT INTO t SELECT i % 7, 'k' || i, 'hidden', i FROM generate_series(1, 5000) AS i;
CREATE TABLE keyless AS SELECT i % 10 AS i, 'x' AS x FROM generate_series(1, 1000) AS i;
CREATE TABLE "A ""b"" %" ("K 1" int PRIMARY KEY, v int);
INSERT INTO "A ""b"" %" VALUES (1, 1), (2, NULL);
CREATE TABLE blank ();
INSERT INTO blank DEFAULT VALUES;
CREATE TABLE empty (id int PRIMARY KEY);
SELECT lo_from_bytea(4711, 'one'), lo_from_bytea(4712, 'two'), lo_from_bytea(4713, 'three');
"""
Differ = Callable[..., dict[str, RowDifferences | None]]


@pytest.fixture
def differ(database: URL) -> Iterator[Differ]:
    """Return a function: what is done to a database -> table -> how its rows differ from before."""
    with connect(database, "tests") as connection:
        execute(connection, ROWS)

        def done(script: str, *tables: str, **settings: int) -> dict[str, RowDifferences | None]:
            memory = RowMemory(connection, **settings)
            memory.remember(data_fingerprint(database))
            execute(connection, script)
            return {table: memory.differences(table) for table in tables}

        yield done


def test_differing_rows_are_named_by_key_and_column_and_nothing_else_is_kept(differ) -> None:
    (found,) = differ(
        "UPDATE t SET secret = 'leaked' WHERE id = 'k70';"
        "UPDATE t SET n = 1.0, secret = NULL WHERE id = 'k1';"
        "DELETE FROM t WHERE id = 'k4000'; INSERT INTO t VALUES (1, 'new', 'hidden', 0)",
        "public.t",
    ).values()
    assert found.changed == {"secret": 2, "n": 1}
    assert set(found.changed_keys["secret"]) == {"id=k70, tenant=0", "id=k1, tenant=1"}
    assert found.changed_keys["n"] == ("id=k1, tenant=1",)
    assert (found.missing, found.missing_keys) == (1, ("id=k4000, tenant=3",))
    assert (found.unexpected, found.unexpected_keys) == (1, ("id=new, tenant=1",))
    assert found.keyed
    assert found.complete
    assert not {"hidden", "leaked"} & set(repr(found).split("'"))


def test_where_not_all_fit_into_memory_a_share_is_looked_at_again(differ) -> None:
    (found,) = differ("UPDATE t SET secret = NULL", "public.t", max_bytes=100_000).values()
    assert not found.complete
    assert (found.rows, found.missing, found.unexpected) == (5000, 0, 0)
    assert 20 < found.looked_at < 1000
    assert found.changed == {"secret": found.looked_at}
    (found,) = differ("ALTER TABLE t DROP id", "public.t", max_bytes=100_000).values()
    assert found is None, "the share was chosen by that column"


def test_of_a_share_without_a_key_nothing_is_said(differ) -> None:
    """A row that changes leaves the share that its values had chosen: how many differ cannot be told then."""
    one = "UPDATE keyless SET x = 'y' WHERE ctid = (SELECT min(ctid) FROM keyless)"
    (found,) = differ(one, "public.keyless", max_bytes=30_000).values()
    assert found is None


def test_rows_without_a_key_are_counted(differ) -> None:
    (found,) = differ(
        "DELETE FROM keyless WHERE ctid IN (SELECT min(ctid) FROM keyless GROUP BY i HAVING i < 3);"
        "UPDATE keyless SET x = 'y' WHERE i = 9",
        "public.keyless",
    ).values()
    assert (found.keyed, found.missing, found.changed) == (False, 3, {"i": 3, "x": 103})
    assert found.changed_keys == {}


def test_a_column_that_is_gone_took_only_the_values_that_there_were(differ) -> None:
    found = differ('ALTER TABLE "A ""b"" %" DROP v; DROP TABLE t', 'public."A ""b"" %"', "public.t")
    assert found['public."A ""b"" %"'].changed == {"v": 1}
    assert found['public."A ""b"" %"'].changed_keys == {"v": ("K 1=1",)}
    assert found["public.t"].missing == 5000
    assert found["public.t"].missing_keys[0] == "id=k1, tenant=1"


def test_a_key_that_is_gone_leaves_the_numbers(differ) -> None:
    (found,) = differ("ALTER TABLE t DROP tenant; UPDATE t SET n = -1 WHERE id = 'k9'", "public.t").values()
    assert not found.keyed
    assert (found.missing, found.changed["n"], found.changed["tenant"]) == (0, 1, 5000)


def test_a_key_of_another_type_is_not_told_as_rows_that_went_and_came(database: URL) -> None:
    with connect(database, "tests") as connection:
        execute(connection, "CREATE TABLE t (id int PRIMARY KEY, n int, v text)")
        execute(connection, "INSERT INTO t SELECT i, i, 'x' FROM generate_series(1, 20) AS i")
        data, schema = data_fingerprint(database), schema_fingerprint(connection)
        memory = RowMemory(connection)
        memory.remember(data)

        def told() -> list[str]:
            now = data_fingerprint(database)
            left_out = rewritten_columns((schema, schema_fingerprint(connection)), (data, now))
            assert left_out == {"public.t": {"id"}}
            done = data_findings(
                data, now, memory.look_closer(left_out), when=AFTER_UPGRADE, left_out=left_out
            )
            return [one.message for one in done]

        execute(connection, "ALTER TABLE t ALTER id TYPE text, ALTER n TYPE bigint")
        assert told() == []
        execute(connection, "UPDATE t SET v = 'y' WHERE id = '7'")
        assert told() == [
            "column public.t.v has other values after the upgrade: "
            "at least 1 of 20 rows differ (without a key it cannot be told which)"
        ]


def test_a_key_that_is_none_any_more_may_come_twice(differ) -> None:
    (found,) = differ(
        "ALTER TABLE t DROP CONSTRAINT t_pkey; INSERT INTO t SELECT * FROM t WHERE id = 'k2'", "public.t"
    ).values()
    assert (found.unexpected, found.unexpected_keys, found.changed) == (1, ("id=k2, tenant=2",), {})


def test_large_objects_are_named_by_their_number(every_server, make_database) -> None:
    url = make_database(every_server)
    with connect(url, "tests") as connection:
        execute(connection, ROWS)
        memory = RowMemory(connection)
        memory.remember(data_fingerprint(url))
        execute(connection, "SELECT lo_put(4711, 0, 'two'), lo_unlink(4712), lo_create(5000)")
        found = memory.differences("large objects")
    assert (found.changed, found.changed_keys) == ({"content": 1}, {"content": ("4711",)})
    assert (found.missing_keys, found.unexpected_keys) == (("4712",), ("5000",))


def test_a_round_of_questions_reads_the_catalogue_once(database: URL, monkeypatch) -> None:
    reads = []

    def counted(session: Connection) -> list[Table]:
        reads.append(session)
        return list_tables(session)

    with connect(database, "tests") as connection:
        execute(connection, ROWS)
        memory = RowMemory(connection)
        memory.remember(data_fingerprint(database))
        execute(connection, "UPDATE t SET n = 0; UPDATE keyless SET x = 'y'")
        monkeypatch.setattr("lockkeeper.postgres.fingerprint.row_memory.list_tables", counted)
        look_closer = memory.look_closer()
        assert [look_closer(name).changed for name in ("public.t", "public.keyless")] == [
            {"n": 5000},
            {"x": 1000},
        ]
        assert len(reads) == 1
        execute(connection, "ALTER TABLE t DROP n")
        assert memory.look_closer()("public.t").changed == {"n": 5000}, "the next round reads it again"


@pytest.mark.parametrize(("encoding", "shown"), [("SQL_ASCII", "id=caf\ufffd"), ("LATIN1", "id=caf\u00e9")])
def test_keys_that_are_no_text_in_utf8_are_shown_and_refuse_nothing(server, encoding, shown) -> None:
    name = f"keys_{encoding.lower()}"
    with connect(server.url(), "tests") as connection:
        execute(connection, f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    try:
        with connect(server.url(name), "tests") as connection:
            execute(connection, f"SET client_encoding = '{encoding}'")
            execute(connection, "CREATE TABLE t (id text PRIMARY KEY, v int)")
            execute(
                connection,
                "INSERT INTO t VALUES (convert_from('\\x636166e9', current_setting('server_encoding')), 1)",
            )
            memory = RowMemory(connection)
            memory.remember(data_fingerprint(server.url(name)))
            execute(connection, "UPDATE t SET v = 2")
            assert memory.differences("public.t").changed_keys == {"v": (shown,)}
    finally:
        with connect(server.url(), "tests") as connection:
            execute(connection, f"DROP DATABASE {name} WITH (FORCE)")


def test_only_tables_that_have_changed_are_read_again(database: URL) -> None:
    own_reads = (  # of this session since its last flush: when those of others come in, nobody can say
        "SELECT relname, seq_scan FROM pg_stat_xact_user_tables WHERE relname IN ('t', 'keyless')"
    )
    with connect(database, "tests") as connection:
        execute(connection, ROWS)
        memory = RowMemory(connection)
        memory.remember(data_fingerprint(database))
        execute(connection, "UPDATE keyless SET x = 'z'")
        content = data_fingerprint(database)
        execute(connection, "SELECT pg_stat_force_next_flush()")
        with transaction(connection):
            memory.remember(content)
            assert dict(fetch_all(connection, own_reads)) == {"t": 0, "keyless": 1}
        assert memory.differences("public.keyless").changed == {}


def test_nothing_is_said_of_tables_that_had_no_rows_or_were_never_seen(differ) -> None:
    found = differ("INSERT INTO empty VALUES (1)", "public.empty", "public.nothing", "public.blank")
    assert (found["public.empty"], found["public.nothing"]) == (None, None)
    assert found["public.blank"].changed == {}


def test_a_table_that_cannot_be_read_any_more_is_an_error(differ) -> None:
    with pytest.raises(DatabaseError, match="permission denied"):
        differ("SET ROLE pg_monitor", "public.t")
