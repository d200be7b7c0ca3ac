"""The first stage and its way back: column, functions and trigger come in one transaction, and go in one.

So there is no moment at which a writer meets the column without the trigger, or a constraint without both.
ACCESS EXCLUSIVE for milliseconds, reading no row, waited for in many short attempts.
"""

from __future__ import annotations

import json
from typing import Any

from lockkeeper.errors import PlanRefusedError
from lockkeeper.online import catalog, ddl
from lockkeeper.online.catalog import Relation
from lockkeeper.online.ddl import literal, quote
from lockkeeper.online.session import Session
from lockkeeper.rename import carrying, ledger
from lockkeeper.rename.carrying import Carried
from lockkeeper.rename.change import ColumnChange
from lockkeeper.rename.dual_write import DualWrite
from lockkeeper.rename.ledger import Claim, Entry, named_query
from lockkeeper.rename.plan import RenamePlan, make_plan, tree
from lockkeeper.rename.transitions import OVER, Stage

_HIDDEN = frozenset({Stage.SCREAMING, Stage.CONTRACTED})
_CUT_TO_LENGTH = {"character varying": "char", "character": "char", "bit": "bit", "bit varying": "bit"}
"""Types a cast to which cuts off, and whose lengths count the same."""
_COMPRESSION = {"p": "pglz", "l": "lz4"}
_STORAGE = {"p": "PLAIN", "e": "EXTERNAL", "x": "EXTENDED", "m": "MAIN"}


def carried_of(entry: Entry) -> list[Carried]:
    """Return what the expand found on the old column."""
    return [Carried(**each) for each in entry.found["carried"]]


def leaves_of(session: Session, entry: Entry) -> list[Relation]:
    """Return the tables that hold rows, as they are now."""
    table = catalog.relation(session, entry.table, entry.schema)
    return [node.relation for node in tree(session, table) if node.kind == "r"]


def dual_write_of(entry: Entry, stage: Stage | None = None) -> DualWrite:
    """Return the trigger as it is (or will be) at a stage."""
    stage = stage or entry.stage
    change, found = entry.change, entry.found
    facts = found["facts"]
    return DualWrite(
        number=entry.id, table=entry.relation,
        old=change.hidden_name if stage in _HIDDEN else change.old,
        new=change.new if stage is Stage.CONTRACTED else change.working_name,
        old_param=change.old, new_param=change.new, old_type=facts["type"], new_type=found["new_type"],
        old_base=facts["base_type"], new_base=found["new_base"], deterministic=bool(facts["deterministic"]),
        up=change.up, down=change.down, default=facts["default"], default_varies=found["default_varies"],
        conflict=change.conflict, quarantined=stage is Stage.CONTRACTED,
    )  # fmt: skip


def begin(session: Session, change: ColumnChange, by: str) -> Entry:
    """Return the change's entry in the ledger, written down now if there is none that goes on.

    Raises:
        PlanRefusedError: something on the column cannot be carried over, or a change of these names with
            other terms is not over; nothing was touched.
    """
    ledger.make(session)
    found = ledger.find(session, change)
    if found is not None and found.stage not in OVER:
        if found.stage is Stage.PLANNED:  # nothing was touched: what is asked for now counts
            ledger.replan(session, found, change)
        else:
            _refuse_other_terms(found, change)
        return found
    table = catalog.relation(session, change.table_name, change.schema_name)
    gone = catalog.find_column(session, table.sql, change.old) is None
    if found is not None and found.stage is Stage.DROPPED and gone:
        return found
    plan = make_plan(session, change)
    plan.refuse()
    return ledger.add(session, change, plan.nodes[0].relation.schema, plan.rows_estimate, by)


def _refuse_other_terms(entry: Entry, change: ColumnChange) -> None:
    """Refuse to take one change for another: the caller would believe that its own was made."""
    if _values(entry.change) != _values(change):
        raise PlanRefusedError(
            change.subject,
            [
                f"change {entry.id} of this column is not over ({entry.stage}), and is another one: "
                f"{entry.change.subject}. Drop its old column, or undo or abort it, first"
            ],
        )


def _values(change: ColumnChange) -> tuple[str | None, ...]:
    """Return what decides on the new values."""
    return change.type_as_asked, change.up, change.down


def expand(claim: Claim) -> None:
    """Add the new column, kept in step from its first moment.

    Raises:
        PlanRefusedError: something on the column cannot be carried over.
        LockWaitError: the lock was not to be had; nothing was changed.
    """
    session, change = claim.session, claim.entry.change
    claim.require(Stage.EXPANDED)
    plan = make_plan(session, change)
    plan.refuse()
    found = {
        "facts": plan.facts, "new_type": plan.new_type, **_tried(session, change, plan),
        "triggered": [node.relation.sql for node in plan.nodes if not node.is_partition],
        "tree": [node.relation.sql for node in plan.nodes],
    }  # fmt: skip

    def work() -> None:
        found["carried"] = [each.as_dict() for each in carrying.read(session, plan)]
        claim.note(found=literal(json.dumps(found)))
        dual = dual_write_of(claim.refresh(), Stage.EXPANDED)
        for statement in dual.expressions():
            session.run(statement)
        if change.up is not None and dual.default is not None and not dual.default_varies:
            raised = f"pg_catalog.quote_nullable(({dual.raised(dual.default)})::text)"
            found["raised_default"] = session.rows(f"SELECT {raised}")[0][0]
            claim.note(found=literal(json.dumps(found)))
        for statement in _statements(change, plan, found, dual):
            session.run(statement)
        claim.advance(Stage.EXPANDED)

    session.short_work(plan.table, f"Expand {change.subject}", work)
    claim.refresh()


def _tried(session: Session, change: ColumnChange, plan: RenamePlan) -> dict[str, Any]:
    """Try the new column on an empty copy: its type, whether it can come without a rewrite, the default."""
    table = plan.nodes[0].relation
    collate = f" COLLATE {plan.facts['collation']}" if plan.facts["collation"] and change.is_plain else ""
    default = plan.facts["default"]
    with catalog.empty_copy(session, table) as shadow:
        before = catalog.file_node(session, shadow.sql)
        session.run(
            f"ALTER TABLE {shadow.sql} ADD COLUMN {quote(change.working_name)} {plan.new_type}{collate}"
        )
        if catalog.file_node(session, shadow.sql) != before:
            raise PlanRefusedError(
                change.subject, [f"type {plan.new_type} (a domain with constraints) rewrites the table"]
            )
        base = session.rows(
            "SELECT pg_catalog.format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) FROM "
            "pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid WHERE "
            f"a.attrelid = {shadow.oid} AND a.attname = {literal(change.working_name)}"
        )[0][0]
        _refuse_cutting_off(session, change, plan, shadow)
        varies = bool(plan.facts["identity"])
        if default is not None:
            before = catalog.file_node(session, shadow.sql)
            session.run(
                f"ALTER TABLE {shadow.sql} ADD COLUMN lockkeeper_default {plan.old_type} DEFAULT {default}"
            )
            varies = catalog.file_node(session, shadow.sql) != before
    if default is not None and not varies and change.up is not None and not ddl.is_plainly_constant(default):
        raise PlanRefusedError(
            change.subject,
            [f"its default {default} is no constant: what the new default is, `up` cannot tell"],
        )
    return {"new_base": base, "default_varies": varies, "collate": collate}


def _refuse_cutting_off(session: Session, change: ColumnChange, plan: RenamePlan, shadow: Relation) -> None:
    """Refuse a cast that makes what is too long fit, as SQL asks of explicit ones: values would be lost."""
    if change.up is not None:
        return
    (old, old_length, old_arrays), (new, length, arrays) = (
        session.rows(named_query("innermost_type", oid=str(shadow.oid), column=literal(name)))[0]
        for name in (change.old, change.working_name)
    )
    kin = _CUT_TO_LENGTH.get(new)
    if kin is None or length < 0:
        return
    if _CUT_TO_LENGTH.get(old) == kin and old_arrays == arrays and 0 <= old_length <= length:
        return
    raise PlanRefusedError(
        change.subject,
        [
            f"a cast to {plan.new_type} cuts off what is too long without a word: give the values by `up` "
            f"and `down`; with --up {quote(change.old)} --down {quote(change.new)} a row that is too long "
            "fails, by name"
        ],
    )


def new_default(change: ColumnChange, found: dict[str, Any]) -> str | None:
    """Return the new column's DEFAULT as SQL; where its values vary it moves only with the contract."""
    default = found["facts"]["default"]
    if default is None or change.is_plain:
        return default if default is None else str(default)
    if change.up is None:
        return f"CAST({default} AS {found['new_type']})"
    return f"{found['raised_default']}::{found['new_type']}"


def _statements(change: ColumnChange, plan: RenamePlan, found: dict[str, Any], dual: DualWrite) -> list[str]:
    facts, column = plan.facts, quote(change.working_name)
    table = plan.table
    add = f"ALTER TABLE {table} ADD COLUMN {column} {plan.new_type}{found['collate']}"
    default = None if found["default_varies"] else new_default(change, found)
    if default is not None:
        add += f", ALTER COLUMN {column} SET DEFAULT {default}"
    alter = f"ALTER TABLE {table} ALTER COLUMN {column}"
    statements = [add]
    if change.is_plain and facts["storage"]:
        statements.append(f"{alter} SET STORAGE {_STORAGE[facts['storage']]}")
    if change.is_plain and facts["compression"]:
        statements.append(f"{alter} SET COMPRESSION {_COMPRESSION[facts['compression']]}")
    if facts["statistics"]:
        statements.append(f"{alter} SET STATISTICS {int(facts['statistics'])}")
    if facts["options"]:
        statements.append(f"{alter} SET ({', '.join(facts['options'])})")
    if facts["comment"]:
        statements.append(f"COMMENT ON COLUMN {table}.{column} IS {literal(facts['comment'])}")
    statements += [f"GRANT {grant % (column, table)}" for grant in facts["grants"] or ()]
    triggered = list(found["triggered"])
    return [*statements, dual.function(), *dual.triggers(triggered), *dual.enable(list(found["tree"]))]


def abort(claim: Claim, by: str, reason: str) -> None:
    """Drop the new column and all that came with it; the old one is as it was, with all writes since."""
    session, entry = claim.session, claim.entry
    claim.require(Stage.ABORTED)
    if entry.stage is Stage.PLANNED:
        with session.transaction():
            claim.advance(Stage.ABORTED, reason, by)
        return
    change, dual = entry.change, dual_write_of(entry)
    statements = []
    if entry.stage is Stage.SCREAMING:
        statements.append(
            f"ALTER TABLE {entry.relation} RENAME COLUMN {quote(change.hidden_name)} TO {quote(change.old)}"
        )
    statements += dual.drops(list(entry.found["triggered"]))[: len(entry.found["triggered"])]
    statements += [
        f"ALTER TABLE {each.relation} DROP CONSTRAINT IF EXISTS {quote(each.new_name(change))}"
        for each in carried_of(entry)
        if each.incoming
    ]
    statements.append(f"ALTER TABLE {entry.relation} DROP COLUMN IF EXISTS {quote(change.working_name)}")
    statements += dual.drops([])

    def work() -> None:
        for statement in statements:
            session.run(statement)
        claim.advance(Stage.ABORTED, reason, by)

    session.short_work(entry.relation, f"Abort {change.subject}", work)
