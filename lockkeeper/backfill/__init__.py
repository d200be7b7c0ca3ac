"""Backfill of large tables in short batches, beside a running application.

`batches` is the loop, for migration scripts too; `engine` gives it a memory in the ledger, limits that can be
changed while it runs, and workers. It refuses to hold row locks for longer than a batch, to lose a row that
fails (it is parked, by name), and to be two workers on one chunk.
"""

from __future__ import annotations

from lockkeeper.backfill.batches import Work
from lockkeeper.backfill.engine import BackfillProgress, run, tune
from lockkeeper.backfill.throttle import Throttle

__all__ = ["BackfillProgress", "Throttle", "Work", "run", "tune"]
