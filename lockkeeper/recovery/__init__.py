"""The way back: restore beside, prove, fence, swap; and the proof that no write gets lost by it."""

from __future__ import annotations

from lockkeeper.recovery.exchange import BeforeSwap
from lockkeeper.recovery.leftovers import drop_scratch_databases, find_fence, lift_fence, lift_write_fence
from lockkeeper.recovery.restore import restore_backup
from lockkeeper.recovery.write_proof import FencedScene, unfenced_scene, written_since

__all__ = [
    "BeforeSwap",
    "FencedScene",
    "drop_scratch_databases",
    "find_fence",
    "lift_fence",
    "lift_write_fence",
    "restore_backup",
    "unfenced_scene",
    "written_since",
]
