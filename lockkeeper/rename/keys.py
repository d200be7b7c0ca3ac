"""The primary key and the foreign keys that point at it, moved from the old column to the new one and back.

A table has one primary key, so it moves with the contract: the new column's unique index, built and validated
long before, becomes the key in an instant. Foreign keys of other tables point at both columns until then.
"""

from __future__ import annotations

from lockkeeper.online import catalog, constraints, ddl, indexes, not_null
from lockkeeper.online.ddl import literal, quote
from lockkeeper.online.session import Session
from lockkeeper.rename.carrying import Carried
from lockkeeper.rename.ledger import Entry


def _old_index(entry: Entry, each: Carried) -> str:
    return ddl.derived_name(each.name, "lockkeeper_old")


def to_new(entry: Entry, carried: list[Carried]) -> list[str]:
    """Return the statements of the contract. ACCESS EXCLUSIVE on the tables that refer here, too."""
    change = entry.change
    incoming = [each for each in carried if each.incoming]
    statements = [f"ALTER TABLE {each.relation} DROP CONSTRAINT {quote(each.name)}" for each in incoming]
    for each in carried:
        if each.kind == "constraint p":
            statements.append(f"ALTER TABLE {each.relation} DROP CONSTRAINT {quote(each.name)}")
            statements += _primary_key(each, each.new_name(change))
        elif each.replica_identity:
            name = quote(each.new_name(change))
            statements.append(f"ALTER TABLE {each.relation} REPLICA IDENTITY USING INDEX {name}")
    return statements + [_rename(each, each.new_name(change), each.name) for each in incoming]


def _primary_key(each: Carried, index: str) -> list[str]:
    add = f"ALTER TABLE {each.relation} ADD CONSTRAINT {quote(each.name)}"
    statements = [f"{add} PRIMARY KEY USING INDEX {quote(index)}"]
    if each.comment:
        comment = f"COMMENT ON CONSTRAINT {quote(each.name)} ON {each.relation} IS {literal(each.comment)}"
        statements.append(comment)
    return statements


def _rename(each: Carried, before: str, after: str) -> str:
    return f"ALTER TABLE {each.relation} RENAME CONSTRAINT {quote(before)} TO {quote(after)}"


def prepare_undo(session: Session, entry: Entry, carried: list[Carried]) -> None:
    """Give the quarantined column what the contract took: NOT NULL, its unique index, and foreign keys to it.

    Built beside readers and writers; found again when it is there. From then on a key that the old type
    cannot hold is refused, as it will be after the undo.
    """
    hidden = entry.change.hidden_name
    if any(each.kind == "constraint p" for each in carried):
        not_null.set_not_null(session, entry.table, hidden, entry.schema)
    for each in carried:
        if each.kind == "constraint p" and each.index_definition:
            table = catalog.relation(session, each.table, each.table_schema)
            name = _old_index(entry, each)
            _, _, tail = each.for_column(hidden, each.index_definition).partition(" ON ")
            indexes.build(session, table, name, f"CREATE UNIQUE INDEX CONCURRENTLY {quote(name)} ON {tail}")
    for each in (one for one in carried if one.incoming):
        name = _old_index(entry, each)
        found = catalog.find_constraint(session, each.relation, name)
        definition = each.for_column(hidden).removesuffix(" NOT VALID")
        constraints.add_not_valid_then_validate(
            session, each.relation, name,
            f"ALTER TABLE {each.relation} ADD CONSTRAINT {quote(name)} {definition} NOT VALID",
            present=found is not None, valid=found is not None and found.validated,
            finds=f"SELECT * FROM {each.relation}",
        )  # fmt: skip


def to_old(entry: Entry, carried: list[Carried]) -> list[str]:
    """Return the statements of the undo; the new column keeps no key, the next validation makes it again."""
    incoming = [each for each in carried if each.incoming]
    statements = [f"ALTER TABLE {each.relation} DROP CONSTRAINT {quote(each.name)}" for each in incoming]
    for each in carried:
        if each.kind == "constraint p":
            statements.append(f"ALTER TABLE {each.relation} DROP CONSTRAINT {quote(each.name)}")
            statements += _primary_key(each, _old_index(entry, each))
        elif each.replica_identity:
            statements.append(f"ALTER TABLE {each.relation} REPLICA IDENTITY USING INDEX {quote(each.name)}")
    return statements + [_rename(each, _old_index(entry, each), each.name) for each in incoming]
