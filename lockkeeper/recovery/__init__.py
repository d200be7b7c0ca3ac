"""The way back: restore beside, prove, fence, swap; and the proof that no write gets lost by it."""

from __future__ import annotations

from lockkeeper.recovery.leftovers import drop_scratch_databases, find_fence, lift_fence
from lockkeeper.recovery.restore import BeforeSwap, FencedDatabase, restore_backup
from lockkeeper.recovery.write_proof import written_since

__all__ = [
    "BeforeSwap",
    "FencedDatabase",
    "drop_scratch_databases",
    "find_fence",
    "lift_fence",
    "restore_backup",
    "written_since",
]
