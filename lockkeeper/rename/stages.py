"""The stages in which data move or are proven: backfill, validation, flip, observation.

Each asks the ledger where the change stands, does what is missing, and may be called again after any crash.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

from lockkeeper import backfill as engine
from lockkeeper.backfill import chunks
from lockkeeper.backfill.engine import BackfillProgress, Connect
from lockkeeper.errors import StageRefusedError
from lockkeeper.online.ddl import literal, quote
from lockkeeper.rename import carrying
from lockkeeper.rename.expanding import carried_of, dual_write_of, leaves_of
from lockkeeper.rename.ledger import Claim
from lockkeeper.rename.parity import Parity, prove, refuse_difference, require_trigger
from lockkeeper.rename.transitions import Stage


def backfill(
    claim: Claim,
    connect: Connect,
    *,
    on_progress: Callable[[BackfillProgress], None] | None = None,
    stop: threading.Event | None = None,
    workers: int = 1,
    watched: bool = True,
) -> None:
    """Fill the rows that were there before the trigger; go on where a former run has stopped.

    Raises:
        BackfillStoppedError: somebody asked it to stop.
        BackfillError: rows could not be filled; they are named.
    """
    session, entry = claim.session, claim.entry
    if entry.stage is not Stage.BACKFILLING:
        claim.require(Stage.BACKFILLING)
        with session.transaction():
            chunks.plan(session, entry.id, claim.token, leaves_of(session, entry), max(1, workers))
            session.run(f"DELETE FROM lockkeeper.backfill_parked WHERE change_id = {entry.id}")
            claim.advance(Stage.BACKFILLING, filling_since="pg_catalog.clock_timestamp()")
        entry = claim.refresh()
    dual = dual_write_of(entry)
    assignment = f"{quote(dual.new)} = {dual.raised(quote(dual.old))}"
    work = engine.Work(assignment, dual.not_filled)
    engine.run(
        connect, entry.id, claim.token, work, rows_total=entry.rows_total, workers=workers,
        on_progress=on_progress, stop=stop, watched=watched,
    )  # fmt: skip
    for table in entry.found["tree"]:
        session.run(f"ANALYZE {table} ({quote(dual.new)})")
    with session.transaction():
        claim.advance(Stage.BACKFILLED, throttled_by="'{}'")
    claim.refresh()


def validate(claim: Claim) -> Parity:
    """Make what was on the old column for the new one, then prove parity.

    Raises:
        ParityError: rows differ; where rows are not filled, the stage goes back to the backfill.
        InvalidDataError: the new column's values contradict a constraint.
    """
    entry, session = claim.entry, claim.session
    claim.require(Stage.VALIDATED)
    require_trigger(session, entry)
    parity = prove(session, entry)
    if not parity.holds:
        _fill_again(claim)
    refuse_difference(entry, parity)
    not_null = bool(entry.found["facts"]["not_null"])
    carrying.make_all(session, entry.change, carried_of(entry), entry.change.working_name, not_null)
    parity = prove(session, entry)
    refuse_difference(entry, parity)
    with session.transaction():
        claim.advance(Stage.VALIDATED, _words(parity), parity=_as_json(parity))
    claim.refresh()
    return parity


def _fill_again(claim: Claim) -> None:
    """Let the next backfill begin from the start, when rows are not filled."""
    dual = dual_write_of(claim.entry)
    query = (
        f"SELECT EXISTS (SELECT FROM {claim.entry.relation} WHERE {dual.not_filled} AND {dual.out_of_step})"
    )
    if not claim.session.rows(query)[0][0]:
        return
    with claim.session.transaction():
        chunks.plan(claim.session, claim.entry.id, claim.token, leaves_of(claim.session, claim.entry), 1)
        claim.advance(Stage.BACKFILLING, "rows are not filled", filling_since="pg_catalog.clock_timestamp()")
    claim.refresh()


def _as_json(parity: Parity) -> str:
    return literal(json.dumps(parity.as_dict()))


def _words(parity: Parity) -> str:
    return f"{parity.rows} rows in {parity.chunks} chunks compared, {parity.differing} differ"


def flip(claim: Claim, by: str, reason: str) -> None:
    """Record that the application reads the new column.

    Raises:
        StageRefusedError: no proof of parity.
        RenameError: the trigger is missing or disabled.
    """
    claim.require(Stage.FLIPPED)
    parity = claim.entry.parity
    if parity is None or not Parity.from_dict(parity).holds:
        raise StageRefusedError(
            Stage.FLIPPED.value, claim.entry.stage.value, [], "Without a proof of parity nothing is flipped."
        )
    require_trigger(claim.session, claim.entry)
    with claim.session.transaction():
        claim.advance(Stage.FLIPPED, reason, by)
    claim.refresh()


def flip_back(claim: Claim, by: str, reason: str) -> None:
    """Record that the application reads the old column again."""
    with claim.session.transaction():
        claim.advance(Stage.VALIDATED, reason, by)
    claim.refresh()


def observe(claim: Claim) -> Parity:
    """Prove parity once more, and write it down, good or bad.

    Raises:
        ParityError: rows differ.
    """
    entry, session = claim.entry, claim.session
    if entry.stage is Stage.FLIPPED:
        claim.require(Stage.OBSERVING)
    parity = prove(session, entry)
    with session.transaction():
        claim.note(parity=_as_json(parity))
        if parity.holds and entry.stage is Stage.FLIPPED:
            claim.advance(Stage.OBSERVING, _words(parity))
    claim.refresh()
    refuse_difference(entry, parity)
    return parity
