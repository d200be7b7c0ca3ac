"""What Lockkeeper asks of a storage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

CHUNK_BYTES = 1024 * 1024


class StoredObject(NamedTuple):
    """One object as a listing shows it."""

    key: str
    size_bytes: int


class Storage(Protocol):
    """Objects under keys like ``shop/backups/20261123T104500Z-1a2b3c/dump.zst``.

    Every method raises StorageError, with the key, when the storage fails or refuses.
    """

    def put_stream(self, key: str, chunks: Iterable[bytes], *, expected_bytes: int | None = None) -> int:
        """Store what ``chunks`` yields and return its length in bytes.

        The object appears at once and complete when the last chunk is safe. When ``chunks`` raises, its
        exception comes out unchanged and nothing is left under ``key``.

        Args:
            key: where to.
            chunks: the content, pulled as fast as the storage takes it.
            expected_bytes: a generous estimate of the length, where the storage has to plan for it.
        """
        ...

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store a small object, replacing the one that is there."""
        ...

    def open_stream(self, key: str, *, start: int = 0) -> Iterator[bytes]:
        """Yield the object's bytes from ``start`` on, in pieces of about a MiB."""
        ...

    def get_bytes(self, key: str) -> bytes:
        """Return a small object."""
        ...

    def list(self, prefix: str) -> list[StoredObject]:
        """Return the objects whose key begins with ``prefix``, sorted by key."""
        ...

    def size(self, key: str) -> int | None:
        """Return the length of an object in bytes, or None when there is none."""
        ...

    def exists(self, key: str) -> bool:
        """Whether there is an object under ``key``."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; harmless when there is none."""
        ...

    def describe(self) -> str:
        """Return where this is, for messages: no secret in it."""
        ...
