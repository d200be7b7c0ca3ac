"""Rows made up from each revision's schema, put in before it is proven.

So a downgrade that loses what nobody has written into a sample file is found. A revision whose upgrade fails
on such rows is proven a second time without them: that failure is a finding of its own, which the project
can declare (``lockkeeper_leaves = {"generated rows": "the reason"}``) where the application never writes
what its schema permits.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy.engine import URL

from lockkeeper.errors import ConnectionLostError, DatabaseError
from lockkeeper.proving.declarations import Declarations
from lockkeeper.proving.models import Finding, FindingKind, ProofState, RevisionProof
from lockkeeper.testdata import Filler

SUBJECT = "generated rows"


@dataclass
class GeneratedData:
    """What to make up, and what came of it.

    Attributes:
        rows: how many for each table, and again for each form that it takes.
        seed: the same rows for the same seed.
        rows_by_table: how many the database has taken in all.
        in_database: whether the database at hand has any.
    """

    rows: int = 8
    seed: int = 1
    rows_by_table: dict[str, int] = field(default_factory=dict)
    in_database: bool = False
    _missing: dict[str, str] = field(default_factory=dict)
    _refused: dict[str, Finding] = field(default_factory=dict)
    _filler: Filler | None = None

    @property
    def missing(self) -> list[str]:
        """Which tables got no rows, or fewer, and why: one line each."""
        return [f"{table} could not be filled {why}" for table, why in sorted(self._missing.items())]

    def begin(self, url: URL, without: Collection[str]) -> None:
        """Turn to a fresh database; ``without`` are tables to leave alone."""
        self._filler = Filler(url, self.rows, self.seed, without)
        self.in_database = False

    def fill(self, revision: str) -> bool:
        """Fill what is new before ``revision``; returns whether anything was written."""
        if self._filler is None or revision in self._refused:
            return False
        try:
            filled = self._filler.fill()
        except ConnectionLostError:
            raise
        except DatabaseError as error:
            self._missing.setdefault("the database", f"before revision {revision}: {error}")
            return False
        for table, count in filled.rows.items():
            self.rows_by_table[table] = self.rows_by_table.get(table, 0) + count
        for table, why in filled.missing.items():
            self._missing.setdefault(table, f"before revision {revision}: {why}")
        self.in_database = self.in_database or bool(filled.rows)
        return bool(filled.rows)

    def is_refused_by(self, proof: RevisionProof) -> bool:
        """Whether the upgrade failed with these rows; it is to be proven again without them."""
        failed = [one for one in proof.findings if one.kind is FindingKind.UPGRADE_FAILED]
        if not failed or not self.in_database:
            return False
        why = f"with rows that its schema permits (but perhaps not the application): {failed[0].message}"
        self._refused[proof.revision] = failed[0].model_copy(update={"subject": SUBJECT, "message": why})
        return True

    def judged(self, proof: RevisionProof, declarations: Declarations) -> RevisionProof:
        """Add to a proof without these rows that it failed with them, unless it fails for every row."""
        refused = self._refused.get(proof.revision)
        if refused is None or proof.upgrade_s is None:
            return proof
        reason = declarations.allows(proof.revision, SUBJECT)
        finding = refused.model_copy(update={"allowed_because": reason}) if reason else refused
        state = proof.state if reason else ProofState.FAILED
        return proof.model_copy(update={"state": state, "findings": (*proof.findings, finding)})
