"""The stages of a rename as Prefect tasks.

Each asks the ledger in the target's database where it stands, so it may be tried again after anything that
passes: a lock that was not to be had, a lost connection.
"""

from __future__ import annotations

import threading

from lockkeeper.models import Approval
from lockkeeper.rename import BackfillProgress, RenameStatus
from lockkeeper.renaming import Backfilled, RenameRequest, RenameStages
from lockkeeper.renaming.story import progress_line
from tasks.policies import repeatable
from tasks.progress import ProgressBoard
from tasks.runs import engine_of


def stages_of(target: str, run_id: str, request: RenameRequest) -> RenameStages:
    """Return the stages for a run that is open."""
    return RenameStages(engine_of(target, run_id), request)


@repeatable(name="expand")
def expand(target: str, run_id: str, request: RenameRequest) -> RenameStatus:
    """Add the new column, kept in step by the database from its first moment."""
    return stages_of(target, run_id, request).expand()


@repeatable(name="backfill")
def backfill(target: str, run_id: str, request: RenameRequest) -> Backfilled:
    """Fill the rows that were there; shows rows, rows/s, time left and what it waits for as an artifact."""
    board = ProgressBoard(f"backfill-progress-{target}")
    stop = threading.Event()

    def show(progress: BackfillProgress) -> None:
        board.show(progress.percent, progress_line(progress))

    try:
        return RenameStages(engine_of(target, run_id), request, on_progress=show, stop=stop).backfill()
    finally:
        stop.set()
        board.close()


@repeatable(name="validate")
def validate(target: str, run_id: str, request: RenameRequest) -> RenameStatus:
    """Carry over what hung on the old column, and prove that both agree."""
    return stages_of(target, run_id, request).validate()


@repeatable(name="flip")
def flip(target: str, run_id: str, request: RenameRequest, approval: Approval) -> RenameStatus:
    """Raise the flag step by step, back by itself when something breaks."""
    return stages_of(target, run_id, request).flip(approval)


@repeatable(name="observe")
def observe(target: str, run_id: str, request: RenameRequest) -> RenameStatus:
    """Prove once more that both columns agree."""
    return stages_of(target, run_id, request).observe()


@repeatable(name="scream-test")
def scream(target: str, run_id: str, request: RenameRequest) -> RenameStatus:
    """Hide the old column for a while."""
    return stages_of(target, run_id, request).scream()


@repeatable(name="contract")
def contract(target: str, run_id: str, request: RenameRequest, approval: Approval) -> RenameStatus:
    """Move the old column into quarantine."""
    return stages_of(target, run_id, request).contract(approval)


@repeatable(name="abort")
def abort(target: str, run_id: str, request: RenameRequest, approval: Approval) -> RenameStatus:
    """Bring back what was before."""
    return stages_of(target, run_id, request).abort(approval)
