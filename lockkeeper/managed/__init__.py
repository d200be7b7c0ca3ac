"""Snapshots of a managed service (Amazon RDS and Aurora) as backups, and their way back as a new instance.

The service keeps the content; the target's storage keeps the manifest, so that lists, states, retention and
drills are those of every backup. A restore makes a new instance beside the source, which is never touched.
Refuses what the service cannot do: a position in the log, and a comparison with production at the snapshot's
own moment. Every call goes through boto3, with its own chain of credentials.
"""

from lockkeeper.managed.backups import create_snapshot_backup, delete_expired_snapshots
from lockkeeper.managed.restore import drill_snapshot_backup, restore_snapshot_backup, verify_snapshot_backup

__all__ = [
    "create_snapshot_backup",
    "delete_expired_snapshots",
    "drill_snapshot_backup",
    "restore_snapshot_backup",
    "verify_snapshot_backup",
]
