"""What a proof says: for each revision, for a whole project, and as a prediction for production."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum

from pydantic import Field

from lockkeeper.errors import FAILED, REFUSED
from lockkeeper.measured import RevisionCost, Risk, UnforeseenWrite
from lockkeeper.models import Check, CheckState, Fact, RevisionTiming, SchemaFingerprint
from lockkeeper.postgres.own_objects import is_own_table
from lockkeeper.recovery.unchanged import own_writes


class ProofState(str, Enum):
    """How the proof of one revision ended. What could not be checked has not passed."""

    PASSED = "passed"
    FAILED = "failed"
    IRREVERSIBLE = "irreversible"
    UNKNOWN = "could not check"


class FindingKind(str, Enum):
    """What is wrong with a revision."""

    UPGRADE_FAILED = "upgrade failed"
    BLOCKS_ITSELF = "blocks itself"
    INVALID_INDEX = "invalid index"
    DOWNGRADE_FAILED = "downgrade failed"
    RESIDUE = "residue"
    NOT_RESTORED = "not restored"
    DATA_LOST = "data lost"
    DATA_CHANGED = "data changed"
    NOT_REPEATABLE = "not repeatable"
    DIFFERENT_AGAIN = "different the second time"
    NOT_IN_ONE_GO = "fails in one go"
    DIFFERENT_IN_ONE_GO = "different in one go"


class Finding(Fact):
    """One defect; ``subject`` names the object, table or column that it is about."""

    kind: FindingKind
    subject: str
    message: str
    rows: int | None = Field(
        default=None, description="How many rows are lost, changed or left, where known."
    )
    keys: tuple[str, ...] = Field(default=(), description="A few of those rows, e.g. id=7; no other content.")
    allowed_because: str | None = Field(
        default=None, description="The project declares it, with this reason: it does not count."
    )


class RevisionProof(Fact):
    """Upgrade, downgrade and second upgrade of one revision, with everything that was found."""

    revision: str
    message: str = ""
    state: ProofState
    findings: tuple[Finding, ...] = ()
    reason: str | None = Field(default=None, description="Why it is irreversible, or could not be checked.")
    changes: tuple[str, ...] = Field(default=(), description="What the upgrade did to the schema, observed.")
    data_changes: tuple[str, ...] = Field(
        default=(), description="What an irreversible upgrade did to rows and values that were there before."
    )
    own_writes: dict[str, tuple[int, int, int]] | None = Field(
        default=None, description="See RevisionTiming: what the first upgrade wrote."
    )
    rows: int | None = Field(default=None, description="Rows in the database before the upgrade.")
    cost: RevisionCost | None = Field(default=None, description="What the first upgrade cost others.")
    upgrade_s: float | None = None
    downgrade_s: float | None = None
    upgrade_again_s: float | None = None
    duration_s: float = Field(default=0.0, description="The whole proof, fingerprints included.")

    @property
    def counting(self) -> tuple[Finding, ...]:
        """The findings that no declaration allows."""
        return tuple(one for one in self.findings if one.allowed_because is None)


class MigrationTestReport(Fact):
    """The proof of a whole project."""

    project: str
    started_at: datetime
    duration_s: float = 0.0
    server_version_num: int = 0
    proofs: tuple[RevisionProof, ...] = ()
    checks: tuple[Check, ...] = Field(default=(), description="Models and rules, at the heads.")
    sample_data: str | None = Field(default=None, description="The file with rows to test with.")
    sample_data_after: str | None = Field(default=None, description="The revision that it was loaded after.")
    baseline: str | None = Field(default=None, description="The file with the schema that it began with.")
    destination: str = Field(default="heads", description="Up to where revisions were proven.")
    generated_rows: dict[str, int] | None = Field(
        default=None, description="How many rows were made up for each table; None when none were wanted."
    )
    warnings: tuple[str, ...] = ()

    @property
    def tested(self) -> int:
        """How many revisions went the whole way."""
        return sum(proof.upgrade_again_s is not None for proof in self.proofs)

    @property
    def declared(self) -> int:
        """How many revisions the project declares irreversible, and were applied."""
        return sum(proof.state is ProofState.IRREVERSIBLE for proof in self.proofs)

    @property
    def coverage(self) -> float:
        """Tested revisions of all that are not declared irreversible, from 0 to 1."""
        due = len(self.proofs) - self.declared
        if not self.proofs and any(check.state is CheckState.UNKNOWN for check in self.checks):
            return 0.0
        return self.tested / due if due else 1.0

    @property
    def exit_code(self) -> int:
        """0 everything is proven, 1 there are findings, 2 something could not be checked."""
        return exit_code(self.proofs, self.checks)


class RevisionPrediction(Fact):
    """What production must expect of one revision."""

    revision: str
    duration_s: float
    own_writes: dict[str, tuple[int, int, int]] | None = None
    changes: tuple[str, ...] = ()
    cost: RevisionCost | None = None


class Rehearsal(Fact):
    """Pending revisions proven on production's own data."""

    run_id: str
    target: str
    backup_id: str
    database: str = Field(description="The scratch database on which it was played.")
    started_at: datetime
    duration_s: float = 0.0
    proofs: tuple[RevisionProof, ...] = ()
    checks: tuple[Check, ...] = ()
    predictions: tuple[RevisionPrediction, ...] = ()
    schema_before: SchemaFingerprint | None = None
    schema_after: SchemaFingerprint | None = Field(
        default=None, description="What production must have afterwards; None when it was not reached."
    )
    revisions_after: tuple[str, ...] = ()
    risk: Risk | None = Field(default=None, description="None when it did not come to an end.")

    @property
    def exit_code(self) -> int:
        """0 production may be touched, 1 there are findings, 2 something could not be checked."""
        return exit_code(self.proofs, self.checks)

    @property
    def passed(self) -> bool:
        """Whether production may be touched."""
        return self.exit_code == 0 and self.schema_after is not None

    def compared(self, applied: Sequence[RevisionTiming]) -> tuple[RevisionTiming, ...]:
        """Return production's timings, each with how long the revision took here."""
        here = {prediction.revision: round(prediction.duration_s, 3) for prediction in self.predictions}
        return tuple(
            timing.model_copy(update={"rehearsed_s": here.get(timing.revision)}) for timing in applied
        )

    def unforeseen(self, applied: Sequence[RevisionTiming]) -> tuple[UnforeseenWrite, ...]:
        """Return what production's revisions have written to tables that they left alone here.

        Of a revision that cannot tell what it wrote, here or there, nothing is known.
        """
        here = {prediction.revision: prediction.own_writes for prediction in self.predictions}
        total = own_writes(applied, complete=True)
        return tuple(
            UnforeseenWrite(
                revision=timing.revision, table=table, written=rows, own=total[table] if total else None
            )
            for timing in applied
            if (foreseen := here.get(timing.revision)) is not None
            for table, rows in (timing.own_writes or {}).items()
            if any(rows) and not any(foreseen.get(table, ())) and not is_own_table(table)
        )

    @property
    def summary(self) -> str:
        """How far the revisions went, in one line; those without a way back were not reverted."""
        declared = sum(proof.state is ProofState.IRREVERSIBLE for proof in self.proofs)
        whole = len(self.proofs) - declared
        parts = [f"{whole} revisions applied, reverted and applied again"] * (whole > 0 or not declared)
        if declared:
            parts.append(f"{declared} applied and not reverted (declared irreversible)")
        return ", ".join(parts)

    @property
    def problems(self) -> list[str]:
        """Everything that speaks against touching production, one line each."""
        found = []
        for proof in self.proofs:
            found += [f"{proof.revision}: {one.message}" for one in proof.counting]
            if proof.state is ProofState.UNKNOWN:
                found.append(f"{proof.revision}: could not check: {proof.reason}")
        return found + [check.message for check in self.checks if check.refuses]


def exit_code(proofs: Sequence[RevisionProof], checks: Sequence[Check]) -> int:
    """Return 1 when there is any finding, else 2 when anything could not be checked, else 0."""
    states = {proof.state for proof in proofs}
    judged = {check.state for check in checks}
    if ProofState.FAILED in states or CheckState.FAILED in judged:
        return FAILED
    return REFUSED if ProofState.UNKNOWN in states or CheckState.UNKNOWN in judged else 0
