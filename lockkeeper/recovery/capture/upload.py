"""Copies complete segments of the spool to the storage, compressed, beside the stream and never in its way.

A storage that fails costs safety against the loss of this machine, not the capture: it is tried again.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from pathlib import Path

import zstandard

from lockkeeper.config import Target
from lockkeeper.errors import RefusedError, StorageError
from lockkeeper.recovery.capture.files import save
from lockkeeper.recovery.capture.models import RECORD, CaptureRecord, record_path, spool_folder
from lockkeeper.recovery.spool import SpoolWriter, segment_numbers, segment_path
from lockkeeper.storage import Storage, open_storage

SEGMENT_AGE_S = 30.0
FINISH_TIMEOUT_S = 30.0
_PAUSE_S = 5.0
_STORED_SUFFIX = ".spool.zst"
logger = logging.getLogger(__name__)


def captures_key(target: str, run_id: str) -> str:
    """Return the prefix of everything of a capture in the storage."""
    return f"{target}/captures/{run_id}/"


def save_record(storage: Storage, record: CaptureRecord) -> None:
    """Keep the record in storage too: from there a copy can be made and caught up on another machine."""
    key = captures_key(record.target, record.run_id) + RECORD
    storage.put_bytes(key, record.model_dump_json(indent=1).encode())


class SegmentUpload:
    """Uploads in a thread of its own. ``uploaded`` counts segments."""

    def __init__(self, target: Target, record: CaptureRecord, folder: Path) -> None:
        self._storage = open_storage(target.storage)
        self._key = captures_key(record.target, record.run_id)
        self._spool = spool_folder(folder)
        self._queue: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._opened_at = time.monotonic()
        self._number: int | None = None
        self.uploaded = 0
        self._thread = threading.Thread(target=self._work, name="upload", daemon=True)
        for number in segment_numbers(self._spool)[:-1]:
            self._queue.put(number)
        self._thread.start()

    def advance(self, spool: SpoolWriter) -> None:
        """Hand over what is complete; a segment that is old enough is made complete."""
        if self._number is None:
            self._number, self._opened_at = spool.number, time.monotonic()
        if spool.wrote_since_opening and time.monotonic() - self._opened_at > SEGMENT_AGE_S:
            spool.rotate()
        while self._number < spool.number:
            self._queue.put(self._number)
            self._number, self._opened_at = self._number + 1, time.monotonic()

    def finish(self, spool: SpoolWriter) -> None:
        """Hand over the last segment too and wait, for a while, until all are stored."""
        self._opened_at = -SEGMENT_AGE_S
        self.advance(spool)
        self._queue.put(None)
        self._thread.join(FINISH_TIMEOUT_S)
        spool.close()

    def _work(self) -> None:
        while (number := self._queue.get()) is not None:
            while not self._upload(number):
                time.sleep(_PAUSE_S)

    def _upload(self, number: int) -> bool:
        path = segment_path(self._spool, number)
        key = f"{self._key}{number:012d}{_STORED_SUFFIX}"
        try:
            if path.exists():
                with path.open("rb") as file:
                    reader = zstandard.ZstdCompressor(level=1).stream_reader(file)
                    self._storage.put_stream(key, iter(lambda: reader.read(2**20), b""))
        except (StorageError, OSError) as error:
            logger.warning("segment %d could not be stored, trying again: %s", number, error)
            return False
        self.uploaded += 1
        return True


def fetch_capture(target: Target, run_id: str, folder: Path) -> CaptureRecord:
    """Bring a capture's record and segments from the storage to ``folder``, where they are missing.

    Raises:
        RefusedError: the storage has no such capture.
        StorageError: it cannot be read.
    """
    storage = open_storage(target.storage)
    prefix = captures_key(target.name, run_id)
    if not storage.exists(prefix + RECORD):
        raise RefusedError(f"The storage has no capture of run {run_id!r}.")
    record = CaptureRecord.model_validate_json(storage.get_bytes(prefix + RECORD))
    spool = spool_folder(folder)
    spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    for stored in storage.list(prefix):
        if stored.key.endswith(_STORED_SUFFIX):
            number = int(stored.key.removeprefix(prefix).removesuffix(_STORED_SUFFIX))
            path = segment_path(spool, number)
            if not path.exists():
                _download(storage, stored.key, path)
    save(record_path(folder), record)
    return record


def _download(storage: Storage, key: str, path: Path) -> None:
    partial = path.with_suffix(".partial")
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    with partial.open("wb") as file:
        for chunk in storage.open_stream(key):
            file.write(decompressor.decompress(chunk))
    partial.rename(path)


def stored_captures(target: Target) -> list[str]:
    """Return the run ids of the captures that the storage has something of."""
    prefix = captures_key(target.name, "").rstrip("/") + "/"
    keys = (stored.key.removeprefix(prefix) for stored in open_storage(target.storage).list(prefix))
    return sorted({key.partition("/")[0] for key in keys})


def forget_stored(target: Target, run_id: str) -> None:
    """Remove everything of a capture from the storage, the record last; can run twice.

    Raises:
        StorageError: it cannot be removed.
    """
    storage = open_storage(target.storage)
    record = captures_key(target.name, run_id) + RECORD
    for stored in storage.list(captures_key(target.name, run_id)):
        if stored.key != record:
            storage.delete(stored.key)
    storage.delete(record)
