"""The migration test: every revision of a project, from nothing to its heads, proven on scratch databases.

Makes its own databases on the server that it is given, or on an embedded one, and drops them, however it
ends. A revision whose defect ruins the database does not hide those above it: they go on in a fresh one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import URL

from lockkeeper.alembic_project import AlembicSession
from lockkeeper.config import AlembicSettings, Policies
from lockkeeper.costs import CostMeter
from lockkeeper.errors import ConfigurationError, LockkeeperError
from lockkeeper.models import Check, Revision, SchemaFingerprint, utc_now
from lockkeeper.postgres.connection import connect, fetch_value
from lockkeeper.postgres.databases import create_scratch, drop_database
from lockkeeper.proving.declarations import Declarations, read_declarations
from lockkeeper.proving.generated_data import GeneratedData
from lockkeeper.proving.models import MigrationTestReport, ProofState, RevisionProof
from lockkeeper.proving.observation import Observer
from lockkeeper.proving.one_go import OneGo
from lockkeeper.proving.sample_data import Baseline, SampleData
from lockkeeper.proving.stairway import Announce, Stairway, unchecked
from lockkeeper.record import new_run_id
from lockkeeper.verification import (
    check_models,
    check_rules,
    invalid_objects,
    load_rules,
    unknown,
    warned,
)

DEFAULT_MAJOR = 16
DATABASE = "migration_test"
LEAST_STEPS = 2
"""A single revision goes up in one go on the stairway as well."""


def run_migration_test(
    settings: AlembicSettings,
    server_url: URL | None = None,
    *,
    sample_data: SampleData | None = None,
    generated: GeneratedData | None = None,
    baseline: Baseline | None = None,
    to: str | None = None,
    policies: Policies | None = None,
    major: int = DEFAULT_MAJOR,
    run_id: str | None = None,
    announce: Announce = lambda _text: None,
) -> MigrationTestReport:
    """Prove every revision of the project.

    Args:
        settings: the project.
        server_url: a database on the server to use; its role may create databases. None for an embedded one.
        sample_data: rows to test with.
        generated: rows made up from each revision's schema, beside them.
        baseline: the schema that the project's first revision finds; default is an empty database.
        to: the last revision to prove; default is every head.
        policies: time-outs, and what differences from the models mean.
        major: of the embedded server.
        run_id: the run it belongs to.
        announce: told what is being done.

    Raises:
        ConfigurationError: a declaration, a rule's folder or the sample data is wrong, or there is no server.
        AlembicProjectError: the project cannot be loaded or connects elsewhere.
        DatabaseError: the server cannot be used.
    """
    with _server(server_url, major) as url:
        inputs = _Inputs(sample_data, generated, baseline, to or "heads")
        test = _MigrationTest(settings, url, inputs, policies or Policies(), run_id or new_run_id(), announce)
        return test.run()


@dataclass(frozen=True)
class _Inputs:
    """What a test is made with, beside the project."""

    sample_data: SampleData | None
    generated: GeneratedData | None
    baseline: Baseline | None
    destination: str


class _MigrationTest:
    """One project on one server; ``_proofs`` grows by the revisions that are done."""

    def __init__(
        self,
        settings: AlembicSettings,
        server_url: URL,
        inputs: _Inputs,
        policies: Policies,
        run_id: str,
        announce: Announce,
    ) -> None:
        self._settings = settings
        self._server_url = server_url
        self._sample_data = inputs.sample_data
        self._generated = inputs.generated
        self._baseline = inputs.baseline
        self._destination = inputs.destination
        self._reaches_head = True
        self._policies = policies
        self._run_id = run_id
        self._announce = announce
        self._rules = load_rules(settings.rules_dir)
        self._proofs: list[RevisionProof] = []
        self._checks: list[Check] = []
        self._steps: tuple[Revision, ...] | None = None
        self._declarations = Declarations()
        self._begins_at: tuple[str, ...] = ()
        self._reached: tuple[SchemaFingerprint, frozenset[str]] | None = None

    def run(self) -> MigrationTestReport:
        started_at, started = utc_now(), time.monotonic()
        with connect(self._server_url, "migration-test", run_id=self._run_id) as connection:
            version = int(fetch_value(connection, "SHOW server_version_num"))
        while self._on_a_fresh_database():
            pass
        self._go_in_one()
        data = self._sample_data
        return MigrationTestReport(
            project=str(self._settings.config_file),
            started_at=started_at,
            duration_s=time.monotonic() - started,
            server_version_num=version,
            proofs=tuple(self._proofs),
            checks=tuple(self._checks),
            sample_data=str(data.file) if data else None,
            sample_data_after=data.after if data else None,
            baseline=str(self._baseline.file) if self._baseline else None,
            destination=self._destination,
            generated_rows=dict(sorted(self._generated.rows_by_table.items())) if self._generated else None,
        )

    def _on_a_fresh_database(self) -> bool:
        """Go on where the proofs end; returns whether that must be done again."""
        with self._scratch() as url, self._session(url) as session, connect(url, "prove") as connection:
            observer = Observer.make(url, connection, session.prepare(), self._run_id)
            session.meter = CostMeter(url, self._run_id, each_by_itself=True)
            steps = self._plan(session)
            stairway = Stairway(session, observer, self._declarations)
            self._begins_at = stairway.heads
            if not steps and not self._begins_at:
                self._checks.append(unknown("revisions", _nothing_to_test(self._settings)))
            try:
                self._rise(stairway, url, steps[: len(self._proofs)])
            except LockkeeperError as error:
                self._give_up(f"a second, fresh database could not be brought here: {error}")
                self._checks.append(unknown("heads", error))
                return False
            if self._generated is not None:
                self._generated.begin(url, observer.version_tables)
            if self._climb(stairway, url, steps):
                return True
            if stairway.stopped is None:
                self._check_heads(session, observer, url)
                return False
        if self._proofs[-1].state is ProofState.FAILED and self._proofs[-1].upgrade_s is not None:
            return True  # after the last one, too: the heads are checked in a database that got there
        self._give_up(stairway.stopped)
        return False

    def _plan(self, session: AlembicSession) -> tuple[Revision, ...]:
        if self._steps is None:
            plan = session.plan(self._destination)
            self._steps, self._reaches_head = plan.steps, plan.reaches_head
            self._declarations = read_declarations(self._settings, session.history())
            after = self._sample_data.after if self._sample_data else None
            if after is not None and after not in {step.id for step in self._steps}:
                raise ConfigurationError(
                    f"Sample data after revision {after!r}: the project does not have it."
                )
        return self._steps

    def _rise(self, stairway: Stairway, url: URL, steps: Sequence[Revision]) -> None:
        for step in steps:
            stairway.rise([step])
            self._load(url, step)

    def _climb(self, stairway: Stairway, url: URL, steps: Sequence[Revision]) -> bool:
        """Prove what is left; returns whether to go on in a fresh database because of generated rows."""
        generated = self._generated
        for step in steps[len(self._proofs) :]:
            total = f"{len(self._proofs) + 1} of {len(steps)}"
            self._announce(f"{total}: {step.id} {step.message}".rstrip())
            if generated is not None and generated.fill(step.id):
                stairway.changed()
            proof = stairway.prove(step)
            if generated is not None:
                if generated.is_refused_by(proof):
                    return True
                proof = generated.judged(proof, self._declarations)
            self._proofs.append(proof)
            if stairway.stopped is not None:
                return False
            if self._load(url, step):
                stairway.changed()
        # Rules are about rows that the application writes: made-up ones keep to the schema only.
        return generated is not None and generated.in_database

    def _load(self, url: URL, step: Revision) -> bool:
        data = self._sample_data
        return data is not None and data.load(url, step.id)

    def _give_up(self, why: str | None) -> None:
        self._proofs += unchecked((self._steps or ())[len(self._proofs) :], why)

    def _check_heads(self, session: AlembicSession, observer: Observer, url: URL) -> None:
        """Compare the heads with the models and the rules; say what is not validated, or was not tested."""
        try:
            if self._reaches_head:  # the models describe the heads
                self._checks += check_models(session.model_differences(), self._policies.model_differences)
        except LockkeeperError as error:
            self._checks.append(unknown("models", error))
        schema = observer.schema()
        self._reached = schema, observer.version_tables
        timeout = self._policies.rule_timeout_ms
        self._checks += check_rules(url, self._rules, timeout_ms=timeout, run_id=self._run_id)
        self._checks += [warned("validity", text) for text in sorted(invalid_objects(schema))]
        if self._sample_data is not None and self._sample_data.misfit is not None:
            misfit = f"{self._sample_data.file} fits nowhere: {self._sample_data.misfit}"
            self._checks.append(unknown("sample data", ConfigurationError(misfit)))
        if self._generated is not None:
            self._checks += [warned("generated rows", text) for text in self._generated.missing]

    def _go_in_one(self) -> None:
        """Also do what a new installation does, where the stairway came to its end and had several steps."""
        steps = self._steps or ()
        if self._reached is None or len(steps) < LEAST_STEPS:
            return
        schema, version_tables = self._reached
        one_go = OneGo(
            self._settings, self._policies, self._run_id, self._declarations, self._scratch,
            version_tables, self._begins_at, self._destination, self._announce,
        )  # fmt: skip
        try:
            self._proofs = one_go.judge(steps, self._proofs, schema)
        except LockkeeperError as error:
            self._checks.append(unknown("in one go", error))

    def _session(self, url: URL) -> AlembicSession:
        return AlembicSession(
            self._settings, url, role="migrate", run_id=self._run_id, policies=self._policies
        )

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[URL]:
        with connect(self._server_url, "scratch", run_id=self._run_id) as connection:
            reason = f"migration test of {self._settings.config_file}"
            name = create_scratch(connection, DATABASE, "prove", run_id=self._run_id, reason=reason)
        try:
            url = self._server_url.set(database=name)
            if self._baseline is not None:
                self._baseline.load(url)
            yield url
        finally:
            with connect(self._server_url, "scratch", run_id=self._run_id) as connection:
                drop_database(connection, name)


def _nothing_to_test(settings: AlembicSettings) -> ConfigurationError:
    return ConfigurationError(
        f"{settings.config_file} leads to no revisions. Is its script_location or version_locations mistyped?"
    )


@contextlib.contextmanager
def _server(url: URL | None, major: int) -> Iterator[URL]:
    if url is not None:
        yield url
        return
    try:
        from lockkeeper.local.postgres_server import scratch_postgres
    except ImportError as error:
        raise _without_server() from error
    with scratch_postgres("test", major=major) as server:
        yield server.url()


def _without_server() -> ConfigurationError:
    return ConfigurationError(
        "There is no server to test on. Give --server-url-env VAR, or install one: "
        "pip install 'lockkeeper[local]'"
    )
