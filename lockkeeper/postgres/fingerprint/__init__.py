"""Fingerprints of a database's schema and content, and readable differences between them."""

from __future__ import annotations

from lockkeeper.postgres.fingerprint.data import LARGE_OBJECTS, data_fingerprint
from lockkeeper.postgres.fingerprint.data_comparison import compare_data
from lockkeeper.postgres.fingerprint.row_differences import SHOWN_KEYS, RowDifferences
from lockkeeper.postgres.fingerprint.row_memory import RowMemory
from lockkeeper.postgres.fingerprint.schema import schema_fingerprint
from lockkeeper.postgres.fingerprint.schema_comparison import compare_schemas

__all__ = [
    "LARGE_OBJECTS",
    "SHOWN_KEYS",
    "RowDifferences",
    "RowMemory",
    "compare_data",
    "compare_schemas",
    "data_fingerprint",
    "schema_fingerprint",
]
