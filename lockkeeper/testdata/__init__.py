"""Test data made up from the schema alone: rows that the database itself has taken."""

from __future__ import annotations

from lockkeeper.testdata.filling import Filled, Filler

__all__ = ["Filled", "Filler"]
