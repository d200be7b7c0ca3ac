"""Many changes of a row are one; only what the application changed is carried; text is quoted well."""

from __future__ import annotations

from datetime import datetime, timezone

from lockkeeper.recovery.capture.models import CapturedColumn, CapturedTable, CaptureLimits, CaptureRecord
from lockkeeper.recovery.pgoutput import UNCHANGED, Relation, RelationColumn, Values
from lockkeeper.recovery.replay import statements
from lockkeeper.recovery.replay.catalogue import CopyColumn, CopyTable, KeyColumn
from lockkeeper.recovery.replay.changes import (
    DELETE,
    INSERT,
    REPLACE,
    UPDATE,
    Change,
    TableChanges,
    Transaction,
    by_columns,
)
from lockkeeper.recovery.replay.mapping import Mapper, TableMap

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
LATEST = Transaction(1, 1, NOW)


def column(name: str, **changes: object) -> CopyColumn:
    facts = {
        "name": name, "quoted": name, "type_oid": 25, "typmod": -1, "bare_type": "text", "full_type": "text",
        "array_type": "text[]", "delimiter": ",", "is_generated": False, "is_comparable": True,
    }  # fmt: skip
    return CopyColumn(**{**facts, **changes})  # type: ignore[arg-type]


COLUMNS = {name: column(name) for name in ("id", "a", "b")}
TABLE = CopyTable("public", "t", "public.t", False, COLUMNS, (KeyColumn("id", "OPERATOR(pg_catalog.=)"),))
MAP = TableMap(
    "public.t", ("id", "a", "b", "new"), TABLE, dict(enumerate(COLUMNS.values())), (0,), TABLE.key, extra=(3,)
)


def row(*values: str | None) -> Values:
    filled = [*values, *[None] * (4 - len(values))]
    return [None if value is None else value.encode() for value in filled]


def batch(*changes: tuple[str, Values | None, Values | None]) -> TableChanges:
    made = TableChanges(MAP)
    for operation, old, new in changes:
        change = Change(operation, old, new, LATEST)
        assert made.accepts(change)
        made.add(change)
    return made


def net(made: TableChanges) -> dict[bytes, str]:
    return {key: change.operation for key, change in made.net.items()}


def test_only_what_differs_before_and_after_is_carried() -> None:
    made = batch((UPDATE, row("1", "corrupted", "x"), row("1", "corrupted", "y")))
    assert made.net[b"1"].new == {2: b"y"}
    assert made.net[b"1"].old == {2: b"x"}


def test_updates_of_a_row_become_one_from_the_first_old_to_the_last_new() -> None:
    made = batch(
        (UPDATE, row("1", "a", "b"), row("1", "a2", "b")),
        (UPDATE, row("1", "a2", "b"), row("1", "a3", "b2")),
    )
    change = made.net[b"1"]
    assert (change.old, change.new) == ({1: b"a", 2: b"b"}, {1: b"a3", 2: b"b2"})


def test_insert_update_and_delete_cancel_or_merge() -> None:
    assert net(batch((INSERT, None, row("1", "a")), (DELETE, row("1", "a"), None))) == {}
    merged = batch((INSERT, None, row("1", "a", "long")), (UPDATE, None, [b"1", b"z", UNCHANGED, None]))
    assert merged.net[b"1"].operation == INSERT
    assert merged.net[b"1"].values == [b"1", b"z", b"long", None]
    again = batch((DELETE, row("1", "a"), None), (INSERT, None, row("1", "n")))
    assert net(again) == {b"1": REPLACE}
    assert net(batch((UPDATE, row("1", "a"), row("1", "b")), (DELETE, row("1", "b"), None))) == {b"1": DELETE}
    assert net(batch((UPDATE, row("1", "a"), row("1", "a")))) == {}
    gone = batch((DELETE, row("1", "a"), None), (UPDATE, row("1", "m"), row("1", "n")))
    assert net(gone) == {b"1": DELETE}
    assert len(gone.orphans) == 1


def test_a_change_of_the_key_is_applied_by_itself() -> None:
    assert not TableChanges(MAP).accepts(Change(UPDATE, row("1"), row("2"), LATEST))


def test_values_of_columns_that_the_copy_lacks_are_parked_when_the_application_wrote_them() -> None:
    made = batch(
        (INSERT, None, row("1", "a", "b", "fresh")),
        (UPDATE, row("2", "a", "b", "same"), row("2", "c", "b", "same")),
        (UPDATE, row("3", "a", "b", "old"), row("3", "a", "b", "new")),
        (INSERT, None, row("4", "a")),
    )
    assert [parked.values for parked in made.parked] == [{3: b"fresh"}, {3: b"new"}]


def test_updates_are_grouped_by_what_they_set() -> None:
    made = batch(
        (UPDATE, row("1", "a"), row("1", "x")),
        (UPDATE, row("2", "a"), row("2", "y")),
        (UPDATE, None, row("3", "a", "b")),
    )
    groups = {key: len(group) for key, group in by_columns(made.net.values()).items()}
    assert groups == {((1,), True): 2, ((0, 1, 2), False): 1}


def recorded(**numbers: int) -> CaptureRecord:
    columns = tuple(
        CapturedColumn(name=name, number=number, type_oid=25, typmod=-1) for name, number in numbers.items()
    )
    table = CapturedTable(
        oid=7, schema_name="public", name="t", identity="public.t", former_identity="DEFAULT", full=True,
        columns=columns,
    )  # fmt: skip
    return CaptureRecord(
        run_id="r", target="t", database="d", slot="s", publication="p", server_version_num=160000,
        marks="origin", created_at=NOW, limits=CaptureLimits(), tables=(table,),
    )  # fmt: skip


def sent(*names: str, oid: int = 7, name: str = "t", type_oid: int = 25) -> Relation:
    return Relation(
        oid, "public", name, "f", tuple(RelationColumn(each, type_oid, -1, True) for each in names)
    )


def test_columns_are_followed_by_number_and_tables_by_oid() -> None:
    mapper = Mapper(recorded(id=1, a=2, b=3), {("public", "t"): TABLE})
    renamed = mapper.map(sent("id", "aa", "b", name="renamed"), {"numbers": {"id": 1, "aa": 2, "b": 3}})
    assert {position: each.name for position, each in renamed.columns.items()} == {0: "id", 1: "a", 2: "b"}
    anew = mapper.map(sent("id", "b", "a"), {"numbers": {"id": 1, "b": 3, "a": 9}})
    assert anew.extra == (2,)
    by_name = mapper.map(sent("id", "a", oid=99), None)
    assert {each.name for each in by_name.columns.values()} == {"id", "a"}
    assert mapper.map(sent("id", oid=99, name="strange"), None).table is None
    assert mapper.map(sent("a", "b"), None).key == ()
    assert set(mapper.map(sent("id", "a", type_oid=23), None).retyped) == {0, 1}


def test_values_are_quoted_so_that_none_can_be_mistaken() -> None:
    literal = statements.array_literal([b"NULL", None, b'a"b\\c', b"it's", b""])
    assert literal == b"""'{"NULL",NULL,"a\\"b\\\\c","it''s",""}'"""
    lines = statements.copy_lines([[b"a\tb", None, b"\\N\n\r"]], (0, 1, 2))
    assert lines == b"a\\tb\t\\N\t\\\\N\\n\\r\n"
    assert statements.literal(b"o'k") == b"'o''k'"


def test_statements_find_rows_by_the_keys_own_operator() -> None:
    statement = statements.update_statement(MAP, [[b"1"]], (1,), [[b"n"]], [[b"o"]])
    assert b"x.id OPERATOR(pg_catalog.=) s.k0" in statement
    assert b"CAST(t.a AS pg_catalog.text) IS NOT DISTINCT FROM s.o0" in statement
    assert statement.startswith(b"UPDATE ONLY public.t AS t SET a = s.n0 FROM ")
    assert statements.delete_statement(MAP, [[b"1"]]).startswith(b"DELETE FROM ONLY public.t AS t USING ")
