"""Proves revisions before they reach production: up, down and up again, each on a scratch database.

Guarantees: what a downgrade leaves behind or loses is named by object, table, column and rows; a revision
that could not be tested never counts as one that passed. Refuses nothing; never touches a database that it
was not given as scratch.
"""

from __future__ import annotations

from lockkeeper.proving.declarations import Declarations, read_declarations
from lockkeeper.proving.generated_data import GeneratedData
from lockkeeper.proving.migration_test import run_migration_test
from lockkeeper.proving.models import (
    Finding,
    FindingKind,
    MigrationTestReport,
    ProofState,
    Rehearsal,
    RevisionPrediction,
    RevisionProof,
)
from lockkeeper.proving.rehearsal import rehearse
from lockkeeper.proving.sample_data import Baseline, SampleData
from lockkeeper.proving.stairway import Stairway

__all__ = [
    "Baseline",
    "Declarations",
    "Finding",
    "FindingKind",
    "GeneratedData",
    "MigrationTestReport",
    "ProofState",
    "Rehearsal",
    "RevisionPrediction",
    "RevisionProof",
    "SampleData",
    "Stairway",
    "read_declarations",
    "rehearse",
    "run_migration_test",
]
