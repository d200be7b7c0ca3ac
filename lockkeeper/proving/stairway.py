"""The stairway: every revision up, down and up again, on a database that may be ruined.

A step begins where the one before ended. What a downgrade leaves may make the second upgrade impossible;
the database is then of no use for the steps above: ``Stairway.stopped`` says so, and whoever owns the
database makes a fresh one, or reports the rest as not checked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lockkeeper.alembic_project import AlembicSession
from lockkeeper.errors import AlembicProjectError, DatabaseError, LockkeeperError, MigrationError
from lockkeeper.measured import SelfWait
from lockkeeper.models import DataFingerprint, Revision, RevisionTiming, SchemaFingerprint
from lockkeeper.online.errors import LOCK_NOT_AVAILABLE
from lockkeeper.postgres.fingerprint import compare_schemas
from lockkeeper.proving.data_findings import AFTER_UPGRADE, data_findings, rewritten_columns
from lockkeeper.proving.declarations import Declarations
from lockkeeper.proving.models import Finding, FindingKind, ProofState, RevisionProof
from lockkeeper.proving.observation import (
    Observer,
    invalid_indexes,
    row_count,
    schema_changes,
    schema_findings,
    subject_of,
)

Announce = Callable[[str], None]


class Stairway:
    """Proves revisions one after the other in one session.

    Args:
        session: open with ``role="migrate"`` on the scratch database, after its ``prepare``.
        observer: of the same database.
        declarations: the project's own.
        announce: told what is being done.

    Attributes:
        stopped: why no further step can be proven on this database, or None.
        heads: what the version table holds.
    """

    def __init__(
        self,
        session: AlembicSession,
        observer: Observer,
        declarations: Declarations,
        *,
        announce: Announce = lambda _text: None,
    ) -> None:
        self._session = session
        self._observer = observer
        self._declarations = declarations
        self._announce = announce
        self._schema: SchemaFingerprint | None = None
        self._data: DataFingerprint | None = None
        self._rows = observer.row_memory()
        self.heads: tuple[str, ...] = session.current()
        self.stopped: str | None = None

    @property
    def schema(self) -> SchemaFingerprint:
        """The schema of this moment; read only once between two changes."""
        if self._schema is None:
            self._schema = self._observer.schema()
        return self._schema

    @property
    def data(self) -> DataFingerprint:
        """The data of this moment; read only once between two changes."""
        if self._data is None:
            self._data = self._observer.data()
        return self._data

    def changed(self) -> None:
        """Forget what was read: somebody else has written to the database."""
        self._schema = self._data = None

    def rise(self, steps: Sequence[Revision]) -> None:
        """Only apply ``steps``; raises as ``AlembicSession.take``."""
        for step in steps:
            self._move(step)

    def climb(self, steps: Sequence[Revision]) -> Iterator[RevisionProof]:
        """Prove ``steps``, ending before the last when the database is of no use any more."""
        for number, step in enumerate(steps, 1):
            self._announce(f"{number} of {len(steps)}: {step.id} {step.message}".rstrip())
            yield self.prove(step)
            if self.stopped is not None:
                return

    def prove(self, step: Revision) -> RevisionProof:
        """Prove one revision that can be applied to where the database stands."""
        started = time.monotonic()
        facts: dict[str, Any] = {"revision": step.id, "message": step.message}
        findings: list[Finding] = []
        try:
            state, reason = self._stairs(step, facts, findings)
        except (AlembicProjectError, DatabaseError) as error:
            state, reason = ProofState.UNKNOWN, str(error)
            self.stopped = f"revision {step.id} before it could not be checked"
        if any(one.allowed_because is None for one in findings):
            state = ProofState.FAILED
        return RevisionProof(
            **facts,
            state=state,
            reason=reason,
            findings=tuple(findings),
            duration_s=time.monotonic() - started,
        )

    def _stairs(
        self, step: Revision, facts: dict[str, Any], findings: list[Finding]
    ) -> tuple[ProofState, str | None]:
        before, data, heads = self.schema, self.data, self.heads
        facts["rows"] = row_count(data)
        self._rows.remember(data)
        if not self._up(step, facts, findings):
            return ProofState.FAILED, None
        after = self.schema
        facts["changes"] = schema_changes(before, after)
        new_invalid = invalid_indexes(after) - invalid_indexes(before)
        findings += [_invalid(name) for name in sorted(new_invalid)]
        declared = self._declarations.irreversible.get(step.id)
        if declared is not None:
            facts["data_changes"] = self._data_changes(before, data)
            return ProofState.IRREVERSIBLE, declared
        if not self._down(step, heads, facts, findings):
            return ProofState.FAILED, None
        left = schema_findings(before, self.schema)
        left += data_findings(data, self.data, self._rows.look_closer())
        findings += [self._judged(step, one) for one in left]
        self._up_again(step, after, facts, findings)
        return ProofState.PASSED, None

    def _data_changes(self, schema: SchemaFingerprint, data: DataFingerprint) -> tuple[str, ...]:
        """Say what became of rows and values that there were, other than that their type is another one."""
        left_out = rewritten_columns((schema, self.schema), (data, self.data))
        look_closer = self._rows.look_closer(left_out)
        done = data_findings(data, self.data, look_closer, when=AFTER_UPGRADE, left_out=left_out)
        return tuple(one.message for one in done)

    def _move(self, step: Revision, *, downgrade: bool = False) -> RevisionTiming:
        """Apply or revert; what failed and left nothing is tried once more in a fresh process.

        Outside of the test the three moves of a revision are different processes: code that cannot run twice
        in one (it defines a table on the same metadata again, say) is no defect.
        """
        self.changed()
        try:
            return self._take(step, downgrade)
        except MigrationError as error:
            says_so = downgrade and step.irreversible
            if says_so or error.left_partial or error.sqlstate == LOCK_NOT_AVAILABLE:
                raise
        self._session.renew()
        return self._take(step, downgrade)

    def _take(self, step: Revision, downgrade: bool) -> RevisionTiming:
        timing, self.heads = self._session.take(step, self.heads, downgrade=downgrade)
        return timing

    def _up(self, step: Revision, facts: dict[str, Any], findings: list[Finding]) -> bool:
        try:
            timing = self._move(step)
        except MigrationError as error:
            findings.append(_failure(FindingKind.UPGRADE_FAILED, step, error))
            self.stopped = f"revision {step.id} before it fails"
            return False
        facts.update(upgrade_s=timing.duration_s, own_writes=timing.own_writes, cost=timing.cost)
        wait = timing.self_wait
        # `alembic upgrade head` does all upgrades in one process, and a downgrade in another.
        if wait is not None and not wait.after_downgrade:
            findings.append(self._judged(step, _blocks_itself(step, wait)))
        return True

    def _down(
        self, step: Revision, heads: tuple[str, ...], facts: dict[str, Any], findings: list[Finding]
    ) -> bool:
        try:
            timing = self._move(step, downgrade=True)
        except MigrationError as error:
            findings.append(_failure(FindingKind.DOWNGRADE_FAILED, step, error))
            if error.left_partial or not self._stands():
                self.stopped = f"the downgrade of {step.id} failed half-way"
            return False
        facts["downgrade_s"] = timing.duration_s
        return True

    def _stands(self) -> bool:
        """Whether a failure left everything where it was: the process, and the version table."""
        try:
            return self._session.current() == tuple(sorted(self.heads))
        except LockkeeperError:
            return False

    def _up_again(
        self, step: Revision, first: SchemaFingerprint, facts: dict[str, Any], findings: list[Finding]
    ) -> None:
        try:
            timing = self._move(step)
        except MigrationError as error:
            findings.append(_failure(FindingKind.NOT_REPEATABLE, step, error))
            self.stopped = f"revision {step.id} cannot be applied again"
            return
        facts["upgrade_again_s"] = timing.duration_s
        findings += [
            Finding(
                kind=FindingKind.DIFFERENT_AGAIN,
                subject=subject_of(text),
                message=f"applied a second time, the result is another one: {text}",
            )
            for text in compare_schemas(first, self.schema)
        ]

    def _judged(self, step: Revision, finding: Finding) -> Finding:
        reason = self._declarations.allows(step.id, finding.subject)
        return finding.model_copy(update={"allowed_because": reason}) if reason else finding


def unchecked(steps: Sequence[Revision], why: str | None) -> list[RevisionProof]:
    """Return proofs that say why nothing is known of ``steps``."""
    reason = why or "it was not reached"
    return [
        RevisionProof(revision=one.id, message=one.message, state=ProofState.UNKNOWN, reason=reason)
        for one in steps
    ]


def _failure(kind: FindingKind, step: Revision, error: MigrationError) -> Finding:
    message = str(error)
    if kind is FindingKind.NOT_REPEATABLE:
        message = f"after its own downgrade it cannot be applied again: {message}"
    elif kind is FindingKind.DOWNGRADE_FAILED and step.irreversible:
        message += (
            f'\nIf there is no way back, say why in {step.path}: lockkeeper_irreversible = "..."'
            "\nor in the alembic.ini: [lockkeeper] irreversible = " + f"{step.id}: REASON"
        )
    return Finding(kind=kind, subject=f"revision {step.id}", message=message)


def _blocks_itself(step: Revision, wait: SelfWait) -> Finding:
    message = (
        f"in one process with the revisions before it, it never gets its lock: {wait}. "
        "In a process of its own it went through."
    )
    return Finding(kind=FindingKind.BLOCKS_ITSELF, subject=f"revision {step.id}", message=message)


def _invalid(name: str) -> Finding:
    message = f"the upgrade leaves index {name} invalid: PostgreSQL never uses it"
    return Finding(kind=FindingKind.INVALID_INDEX, subject=f"index {name}", message=message)
