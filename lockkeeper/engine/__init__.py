"""The steps of the runbook, done for real and without Prefect.

Each module has what one kind of run needs and stands on those before it: ``run`` (lock, journal, messages),
``standby`` (the way back that is kept ready), ``recovery``, ``operations`` (backups, restores, drills),
``later`` (undo, recover, clean), ``migration``.
"""

from lockkeeper.engine.migration import Engine

__all__ = ["Engine"]
