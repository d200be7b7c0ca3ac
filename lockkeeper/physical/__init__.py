"""Physical backups: the files of a whole server, brought back as a server of their own.

For databases that are too large for a dump to come back in time. Both kinds have the same manifest, states,
storage, retention, drills and commands. What differs: the whole server is copied, and it comes back beside
the target's server, not in it, so that applications have to be pointed at it.

Guarantees: nothing stays on the target's server whatever dies here (no replication slot but a temporary one);
a backup is verified only when a server was started from what the storage holds and its content was read.
"""

from lockkeeper.physical.archive import Archiver, expire_archived
from lockkeeper.physical.base_backup import create_physical_backup
from lockkeeper.physical.drill import drill_physical_backup
from lockkeeper.physical.point import parse_point
from lockkeeper.physical.readiness import check_readiness
from lockkeeper.physical.restore import restore_physical_backup
from lockkeeper.physical.verify import verify_physical_backup

__all__ = [
    "Archiver",
    "check_readiness",
    "create_physical_backup",
    "drill_physical_backup",
    "expire_archived",
    "parse_point",
    "restore_physical_backup",
    "verify_physical_backup",
]
