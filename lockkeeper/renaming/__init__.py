"""A column renamed in stages, with a human between them: who is asked what, in which order, and what then.

``lockkeeper.rename`` changes the database, ``lockkeeper.flags`` what applications read; this room puts both
in order, once, for the command line and for Prefect.
"""

from lockkeeper.renaming.request import RenamePolicy, RenameRequest, make_request
from lockkeeper.renaming.runbook import (
    DROP,
    FLIP,
    QUESTIONS,
    Backfilled,
    Question,
    RenameEnd,
    RenameSteps,
    run_rename,
)
from lockkeeper.renaming.stages import RenameStages

__all__ = [
    "DROP",
    "FLIP",
    "QUESTIONS",
    "Backfilled",
    "Question",
    "RenameEnd",
    "RenamePolicy",
    "RenameRequest",
    "RenameStages",
    "RenameSteps",
    "make_request",
    "run_rename",
]
