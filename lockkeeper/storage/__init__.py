"""Where backups are kept: a folder or an S3-compatible bucket, behind one small protocol.

An object is either there in full or not there at all: an interrupted write leaves nothing under its key.
"""

from __future__ import annotations

from lockkeeper.config import LocalStorageSettings, StorageSettings
from lockkeeper.storage.protocol import Storage, StoredObject

__all__ = ["Storage", "StoredObject", "open_storage"]


def open_storage(settings: StorageSettings) -> Storage:
    """Return the storage that ``settings`` describe; nothing is touched yet."""
    if isinstance(settings, LocalStorageSettings):
        from lockkeeper.storage.local import LocalStorage

        return LocalStorage(settings.path)
    from lockkeeper.storage.s3 import S3Storage  # boto3 costs 0.3 s of CPU: only those who need it

    return S3Storage(settings)
