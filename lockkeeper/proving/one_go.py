"""Everything upgraded in one process, in one go: what ``alembic upgrade heads`` does on an empty database.

The stairway takes each revision by itself. What only a new installation meets is found here: a session that
an earlier revision has left open, a transaction around all revisions, state that one of them leaves in the
process. A failure names its revision and does not hide those above it; a schema that comes out otherwise than
one revision at a time is named by object. No rows are loaded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import URL

from lockkeeper.alembic_project import AlembicSession
from lockkeeper.config import AlembicSettings, Policies
from lockkeeper.errors import MigrationError
from lockkeeper.models import Revision, SchemaFingerprint
from lockkeeper.postgres.connection import connect
from lockkeeper.postgres.fingerprint import compare_schemas
from lockkeeper.proving.declarations import Declarations
from lockkeeper.proving.models import Finding, FindingKind, ProofState, RevisionProof
from lockkeeper.proving.observation import Observer, subject_of
from lockkeeper.proving.stairway import Announce

MOST_FAILURES = 5
"""Each costs one more way up; the revisions above the last one are then not tried."""
LEAST_LOCK_TIMEOUT_MS = 3000
"""Autovacuum lets go after a second (deadlock_timeout): whoever waits longer there waits for itself."""
PATIENCE, PATIENCE_S = 10.0, 60.0
"""It may take that many times as long as the stairway's upgrades together, and that much more."""


@dataclass(frozen=True)
class OneGo:
    """One project.

    Args:
        settings: the project.
        policies: time-outs of its sessions.
        run_id: the run that it belongs to.
        declarations: the project's own.
        scratch: makes an empty database, as the stairway's was at its beginning, and drops it.
        version_tables: Alembic's, as the catalogue quotes them.
        begins_at: what the version table holds in such a database.
        destination: up to where it goes.
        announce: told what is being done.
    """

    settings: AlembicSettings
    policies: Policies
    run_id: str
    declarations: Declarations
    scratch: Callable[[], contextlib.AbstractContextManager[URL]]
    version_tables: frozenset[str]
    begins_at: tuple[str, ...]
    destination: str
    announce: Announce

    def judge(
        self, steps: Sequence[Revision], proofs: Sequence[RevisionProof], reached: SchemaFingerprint
    ) -> list[RevisionProof]:
        """Return the proofs with what was found.

        Args:
            steps: all revisions, which the stairway has taken.
            proofs: theirs.
            reached: the schema that it came to.

        Raises:
            LockkeeperError: it could not be tried.
        """
        limit_s = PATIENCE_S + PATIENCE * sum(proof.upgrade_s or 0.0 for proof in proofs)
        failures, schema = self._failures(steps, limit_s)
        found = [self._failure(one, proofs) for one in failures]
        if schema is not None:
            different = self._differences(steps, reached, schema, limit_s)
            found += [_difference(text, proofs) for text in different]
        return [self._with(proof, [one for at, one in found if at == proof.revision]) for proof in proofs]

    def _failures(
        self, steps: Sequence[Revision], limit_s: float
    ) -> tuple[list[MigrationError], SchemaFingerprint | None]:
        """Return what fails, and the schema where nothing does."""
        failures: list[MigrationError] = []
        done = 0
        while done < len(steps) and len(failures) < MOST_FAILURES:
            above = f", above {steps[done - 1].id}" if done else ""
            self.announce(f"{len(steps) - done} revisions in one go{above}")
            try:
                with self._risen(steps[:done]) as (session, observer, heads):
                    session.upgrade_in_one_go(self.destination, heads, limit_s=limit_s)
                    return failures, None if failures else observer.schema()
            except MigrationError as error:
                if any(error.revision == step.id for step in steps[:done]):
                    raise  # on the way to where it shall begin, one revision at a time
                failures.append(error)
                ids = [step.id for step in steps]
                done = ids.index(error.revision) + 1 if error.revision in ids else len(ids)
        if done < len(steps):
            failures[-1] = failures[-1].because("(What is above was not tried.)")
        return failures, None

    def _differences(
        self, steps: Sequence[Revision], reached: SchemaFingerprint, schema: SchemaFingerprint, limit_s: float
    ) -> list[str]:
        """Return what is due to the one go alone.

        Not to rows and downgrades, which are only on the stairway, and not to names that are drawn by lot:
        a difference must be there against revisions taken one by one, and against a second go.
        """
        found = compare_schemas(reached, schema)
        if not found:
            return []
        self.announce("all revisions once more, one by one, to compare")
        with self._risen(steps) as (_session, observer, _heads):
            one_by_one = observer.schema()
        found = _still(found, one_by_one, schema)
        if found:
            with self._risen(()) as (session, observer, heads):
                session.upgrade_in_one_go(self.destination, heads, limit_s=limit_s)
                found = _still(found, one_by_one, observer.schema())
        return found

    @contextlib.contextmanager
    def _risen(self, steps: Sequence[Revision]) -> Iterator[tuple[AlembicSession, Observer, tuple[str, ...]]]:
        """Yield a database to which ``steps`` were applied one by one, and a fresh process."""
        timeout_ms = max(self.policies.lock_timeout_ms, LEAST_LOCK_TIMEOUT_MS)
        policies = self.policies.model_copy(update={"lock_timeout_ms": timeout_ms})
        with (
            self.scratch() as url,
            AlembicSession(
                self.settings, url, role="migrate", run_id=self.run_id, policies=policies
            ) as session,
            connect(url, "prove") as connection,
        ):
            heads = self.begins_at
            if steps:
                session.prepare()
            for step in steps:
                _, heads = session.take(step, heads)
            if steps:
                session.renew()
            yield session, Observer(url, connection, self.version_tables, self.run_id), heads

    def _failure(self, error: MigrationError, proofs: Sequence[RevisionProof]) -> tuple[str, Finding]:
        revision = error.revision or proofs[-1].revision
        message = f"upgraded in one go with those before it, as `alembic upgrade` does: {error}"
        return revision, Finding(
            kind=FindingKind.NOT_IN_ONE_GO, subject=f"revision {revision}", message=message
        )

    def _with(self, proof: RevisionProof, found: Sequence[Finding]) -> RevisionProof:
        """Add findings; that a revision blocks itself is not said twice."""
        known = {one.subject for one in proof.findings if one.kind is FindingKind.BLOCKS_ITSELF}
        more = []
        for one in found:
            reason = self.declarations.allows(proof.revision, one.subject)
            if one.subject not in known:
                more.append(one.model_copy(update={"allowed_because": reason}))
        failed = any(one.allowed_because is None for one in more)
        state = ProofState.FAILED if failed else proof.state
        return proof.model_copy(update={"findings": (*proof.findings, *more), "state": state})


def _still(found: Sequence[str], one_by_one: SchemaFingerprint, in_one_go: SchemaFingerprint) -> list[str]:
    there = set(compare_schemas(one_by_one, in_one_go))
    return [text for text in found if text in there]


def _difference(text: str, proofs: Sequence[RevisionProof]) -> tuple[str, Finding]:
    """Put a difference down to the last revision that changed the object, else to the last one."""
    subject = subject_of(text)
    about = [proof for proof in proofs if any(subject in change for change in proof.changes)]
    message = f"upgraded in one go, the schema is another one: {text}"
    finding = Finding(kind=FindingKind.DIFFERENT_IN_ONE_GO, subject=subject, message=message)
    return (about or proofs)[-1].revision, finding
