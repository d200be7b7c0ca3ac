"""The stages in which names move: scream test, contract, undo, drop. Each is one short transaction.

The trigger's function is replaced in the transaction that moves the names, so there is no moment at which a
writer meets one without the other. The quarantined column goes on being written: that is what makes an undo
exact, with all writes since.
"""

from __future__ import annotations

import secrets

from lockkeeper.errors import RefusedError
from lockkeeper.online import catalog
from lockkeeper.online.ddl import literal, quote, quote_table
from lockkeeper.online.session import Session
from lockkeeper.rename import keys
from lockkeeper.rename.carrying import Carried
from lockkeeper.rename.expanding import carried_of, dual_write_of, new_default
from lockkeeper.rename.ledger import Claim, Entry, named_query
from lockkeeper.rename.plan import dependents_of
from lockkeeper.rename.transitions import Stage


def _rename(entry: Entry, before: str, after: str) -> str:
    return f"ALTER TABLE {entry.relation} RENAME COLUMN {quote(before)} TO {quote(after)}"


def hide(claim: Claim, duration_s: float) -> None:
    """Rename the old column away for a stated time."""
    entry, session = claim.entry, claim.session
    claim.require(Stage.SCREAMING)
    until = f"pg_catalog.clock_timestamp() + {float(duration_s)} * interval '1 second'"

    def work() -> None:
        session.run(_rename(entry, entry.change.old, entry.change.hidden_name))
        session.run(dual_write_of(entry, Stage.SCREAMING).function())
        claim.advance(Stage.SCREAMING, f"hidden for {duration_s:g} s", scream_until=until)

    session.short_work(entry.relation, f"Hide {entry.change.old}", work)
    claim.refresh()


def show(claim: Claim, stage: Stage, reason: str) -> None:
    """Give the old column its name back, after a scream test."""
    entry, session = claim.entry, claim.session

    def work() -> None:
        session.run(_rename(entry, entry.change.hidden_name, entry.change.old))
        session.run(dual_write_of(entry, stage).function())
        claim.advance(stage, reason, scream_until="NULL")

    session.short_work(entry.relation, f"Show {entry.change.old} again", work)
    claim.refresh()


def contract(claim: Claim, by: str, reason: str) -> None:
    """Move the old column into quarantine: name, defaults, keys and views go to the new one."""
    entry, session, change = claim.entry, claim.session, claim.entry.change
    claim.require(Stage.CONTRACTED)

    def work() -> None:
        _move_views(session, entry, change.old, change.hidden_name, change.working_name)
        if change.keeps_name:
            session.run(_rename(entry, change.working_name, change.new))
        session.run(dual_write_of(entry, Stage.CONTRACTED).function())
        for statement in _defaults_to_new(session, entry) + keys.to_new(entry, carried_of(entry)):
            session.run(statement)
        if not change.is_plain:  # a value that the old type cannot hold becomes NULL there
            session.run(
                f"ALTER TABLE {entry.relation} ALTER COLUMN {quote(change.hidden_name)} DROP NOT NULL"
            )
        until = f"pg_catalog.clock_timestamp() + {int(change.retention_s)} * interval '1 second'"
        claim.advance(Stage.CONTRACTED, reason, by, quarantine_until=until)

    session.short_work(entry.relation, f"Contract {change.subject}", work)
    claim.refresh()


def undo(claim: Claim, by: str, reason: str) -> None:
    """Give the old column its name, defaults, keys and views back, with the writes since.

    Raises:
        RefusedError: values were written since that the old type cannot hold.
    """
    entry, session, change = claim.entry, claim.session, claim.entry.change
    claim.require(Stage.BACKFILLED)
    refuse_lost_values(session, entry)
    carried = carried_of(entry)
    keys.prepare_undo(session, entry, carried)

    def work() -> None:
        if change.keeps_name:
            session.run(_rename(entry, change.new, change.working_name))
        _move_views(session, entry, change.working_name, change.working_name, change.old, change.hidden_name)
        session.run(dual_write_of(entry, Stage.BACKFILLED).function())
        for statement in _defaults_to_old(session, entry) + keys.to_old(entry, carried):
            session.run(statement)
        if not change.is_plain and entry.found["facts"]["not_null"]:
            session.run(f"ALTER TABLE {entry.relation} ALTER COLUMN {quote(change.old)} SET NOT NULL")
        claim.advance(Stage.BACKFILLED, reason, by, quarantine_until="NULL", parity="NULL")

    session.short_work(entry.relation, f"Undo {change.subject}", work)
    claim.refresh()


def refuse_lost_values(session: Session, entry: Entry) -> None:
    """Raise RefusedError when the old type could not hold what was written since the contract."""
    dual = dual_write_of(entry)
    if dual.plain:
        return
    lost = f"SELECT count(*) FROM {entry.relation} WHERE {quote(dual.old)} IS NULL"
    lost += f" AND {quote(dual.new)} IS NOT NULL"
    count = int(session.rows(lost)[0][0]) if entry.found["facts"]["not_null"] else 0
    if count:
        raise RefusedError(
            f"{entry.change.subject} cannot be undone: {count} rows have values that {dual.old_type} cannot "
            f"hold, written since the contract. Find them with: {lost.replace('count(*)', '*')}"
        )


def drop(claim: Claim, by: str, reason: str) -> None:
    """Drop the quarantined column and all that kept it in step; what was carried gets its old names."""
    entry, session, change = claim.entry, claim.session, claim.entry.change
    claim.require(Stage.DROPPED)
    dual = dual_write_of(entry)
    triggered = list(entry.found["triggered"])

    def work() -> None:
        for statement in dual.drops(triggered):
            session.run(statement)
        session.run(f"ALTER TABLE {entry.relation} DROP COLUMN IF EXISTS {quote(change.hidden_name)}")
        for each in carried_of(entry):
            if not (change.old in each.name and not change.keeps_name):
                session.run(_former_name(session, entry, each) or "SELECT 1")
        claim.advance(Stage.DROPPED, reason, by)

    session.short_work(entry.relation, f"Drop {change.old}", work)
    claim.refresh()


def _former_name(session: Session, entry: Entry, each: Carried) -> str | None:
    """Return the statement that gives something carried the name of its model, which is free now.

    A revision may have dropped it since: the models want it no longer.
    """
    name, former = each.new_name(entry.change), each.name
    if each.kind == "index":
        return f"ALTER INDEX IF EXISTS {quote_table(name, each.schema)} RENAME TO {quote(former)}"
    if each.kind == "statistics":
        return f"ALTER STATISTICS {quote_table(name, each.schema)} RENAME TO {quote(former)}"
    if each.kind == "constraint p" or each.incoming:
        return None  # the contract has renamed these
    if catalog.find_constraint(session, each.relation, name) is None:
        return None
    return f"ALTER TABLE {each.relation} RENAME CONSTRAINT {quote(name)} TO {quote(former)}"


# -- views ------------------------------------------------------------------------------------------------


def _move_views(
    session: Session, entry: Entry, column: str, becomes: str, to: str, now: str | None = None
) -> None:
    """Let the views that show ``column`` show ``to``; afterwards ``column`` is called ``becomes``.

    With ``now``, the column that is called so gets the name ``to`` first.
    """
    table = catalog.relation(session, entry.table, entry.schema)
    views = [each.oid for each in dependents_of(session, table.oid, column) if each.kind == "rule v"]
    marker = f"lockkeeper_marker_{secrets.token_hex(8)}"
    session.run(_rename(entry, column, marker))
    found = session.rows(named_query("views", oids=f"ARRAY[{', '.join(map(str, views))}]")) if views else []
    session.run(_rename(entry, marker, becomes))
    if now is not None:
        session.run(_rename(entry, now, to))
    for name, options, definition in found:
        session.run(f"CREATE OR REPLACE VIEW {name}{options} AS {definition.replace(marker, quote(to))}")


# -- defaults ---------------------------------------------------------------------------------------------


def _defaults_to_new(session: Session, entry: Entry) -> list[str]:
    """A default whose values vary (a sequence's, a random uuid) can only be on one of the columns."""
    facts, change = entry.found["facts"], entry.change
    if not entry.found["default_varies"]:
        return []
    return _move_default(
        session, entry, change.hidden_name, change.new, new_default(change, entry.found), facts
    )


def _defaults_to_old(session: Session, entry: Entry) -> list[str]:
    facts, change = entry.found["facts"], entry.change
    if not entry.found["default_varies"]:
        return []
    return _move_default(session, entry, change.working_name, change.old, facts["default"], facts)


def _move_default(
    session: Session, entry: Entry, giver: str, taker: str, default: str | None, facts: dict[str, str | None]
) -> list[str]:
    give = f"ALTER TABLE {entry.relation} ALTER COLUMN {quote(giver)}"
    take = f"ALTER TABLE {entry.relation} ALTER COLUMN {quote(taker)}"
    sequence = facts["sequence"]
    if facts["identity"] and sequence:
        kind = "ALWAYS" if facts["identity"] == "a" else "BY DEFAULT"
        options, stands_at = session.rows(named_query("sequence", sequence=sequence, name=literal(sequence)))[
            0
        ]
        return [
            f"{give} DROP IDENTITY IF EXISTS",
            f"{take} ADD GENERATED {kind} AS IDENTITY (SEQUENCE NAME {sequence} {options})",
            f"SELECT pg_catalog.setval({literal(sequence)}, {stands_at})",
        ]
    statements = [f"{give} DROP DEFAULT", f"{take} SET DEFAULT {default}"]
    if sequence:
        to_new = giver == entry.change.hidden_name
        sequence_type = entry.found["new_base"] if to_new else facts.get("sequence_type")
        if sequence_type in ("smallint", "integer", "bigint"):
            statements.append(f"ALTER SEQUENCE {sequence} AS {sequence_type}")
        statements.append(f"ALTER SEQUENCE {sequence} OWNED BY {entry.relation}.{quote(taker)}")
    return statements
