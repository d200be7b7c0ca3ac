"""The rehearsal: pending revisions proven on production's own data, in a restored scratch database.

It changes that scratch database and nothing else. What it yields is what production is then held against:
how long each revision takes, what it writes, which locks it holds, and the schema that there must be
afterwards. Then the ways back are gone, too (``lockkeeper.proving.ways_back``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.engine import URL

from lockkeeper.alembic_project import AlembicSession
from lockkeeper.config import Target
from lockkeeper.costs import CostMeter
from lockkeeper.errors import ConfigurationError, DatabaseError, LockkeeperError
from lockkeeper.lint import read_context
from lockkeeper.measured import RevisionCost, RevisionEstimate, WayBack
from lockkeeper.models import BackupManifest, Check, MigrationPlan, utc_now
from lockkeeper.postgres.connection import connect
from lockkeeper.postgres.fingerprint import schema_fingerprint
from lockkeeper.proving.declarations import read_declarations
from lockkeeper.proving.linting import lint_rehearsed
from lockkeeper.proving.models import (
    ProofState,
    Rehearsal,
    RevisionPrediction,
    RevisionProof,
    exit_code,
)
from lockkeeper.proving.observation import Observer
from lockkeeper.proving.sampling import Sample, sample_rows
from lockkeeper.proving.stairway import Announce, Stairway, unchecked
from lockkeeper.proving.ways_back import check_ways_back, rehearse_downgrade, rehearse_swap
from lockkeeper.risk import Linted, judge
from lockkeeper.verification import check_rules, load_rules, unknown


def rehearse(
    target: Target,
    plan: MigrationPlan,
    backup: BackupManifest,
    scratch_url: URL,
    run_id: str,
    *,
    announce: Announce = lambda _text: None,
    offline: Mapping[str, str] | None = None,
) -> Rehearsal:
    """Prove ``plan`` on a restored copy, which is afterwards where the plan begins (or ruined).

    Args:
        target: whose project, rules and policies are used; its database is not touched.
        plan: what production is to get.
        backup: what the copy was restored from.
        scratch_url: the copy; never production.
        run_id: the run it belongs to.
        announce: told what is being done.
        offline: revision -> its SQL by Alembic's offline mode; None to have it written here.

    Returns:
        The rehearsal; whether production may be touched is ``passed``. What goes wrong with a revision is a
        finding in it; whatever keeps it from beginning is a check "could not check".

    Raises:
        ConfigurationError: the scratch database is the target's own, or a declaration is wrong.
    """
    _refuse_production(target, scratch_url)
    started_at, started = utc_now(), time.monotonic()
    settings = target.require_alembic()
    declarations = read_declarations(settings, plan.steps, whole_project=False)
    facts: dict[str, Any] = {}
    proofs: list[RevisionProof] = []
    checks: list[Check] = []
    ways: list[WayBack] = []
    sample: Sample | None = None
    lint: Linted | None = None
    try:
        if target.policies.rehearsal == "sampled":
            announce(f"leaving about {target.policies.sample_rows:,} rows of each table in the copy")
            sample = sample_rows(scratch_url, target.policies.sample_rows, run_id)
        with (
            connect(scratch_url, "rehearse", run_id=run_id) as connection,
            AlembicSession(
                settings, scratch_url, role="migrate", run_id=run_id, policies=target.policies
            ) as session,
        ):
            current = session.current()
            if current != tuple(sorted(plan.before)):
                raise DatabaseError(
                    f"the copy is at {_names(current)}, the plan begins at {_names(plan.before)}"
                )
            observer = Observer.make(
                scratch_url, connection, session.prepare(), run_id, jobs=2,
                compares_data=target.policies.rehearsal != "schema-only",
            )  # fmt: skip
            session.meter, session.recorded = CostMeter(scratch_url, run_id), {}
            context, version = read_context(connection), connection.server_version
            stairway = Stairway(session, observer, declarations, announce=announce)
            facts["schema_before"] = schema_fingerprint(connection)
            start = stairway.schema, stairway.data
            proofs += stairway.climb(plan.steps)
            proofs += unchecked(plan.steps[len(proofs) :], stairway.stopped)
            if stairway.stopped is None:
                facts.update(schema_after=schema_fingerprint(connection), revisions_after=stairway.heads)
                checks += _rules(target, scratch_url, run_id)
                announce("linting what the revisions send")
                lint = lint_rehearsed(
                    settings, scratch_url, plan, context, version, session.recorded, offline
                )
                if plan.steps and exit_code(proofs, checks) == 0:
                    announce("the ways back: the downgrade of the whole plan")
                    way = rehearse_downgrade(session, observer, plan, proofs, declarations, start)
                    ways.append(_in_production(way, proofs, sample))
        if ways:
            announce("the ways back: another database takes the copy's place")
            ways.append(rehearse_swap(target, scratch_url, backup, run_id))
            checks += check_ways_back(ways)
        if lint is not None:
            estimates = [_estimate(proof, sample) for proof in proofs]
            whole = {"sample_is_whole": sample is not None and sample.is_whole}
            facts.update(risk=judge(estimates, target.policies, lint, ways).model_copy(update=whole))
    except LockkeeperError as error:
        checks.append(unknown("rehearsal", error))
        proofs += unchecked(plan.steps[len(proofs) :], str(error))
    return Rehearsal(
        run_id=run_id,
        target=target.name,
        backup_id=backup.id,
        database=str(scratch_url.database),
        started_at=started_at,
        duration_s=time.monotonic() - started,
        proofs=tuple(proofs),
        checks=tuple(checks),
        predictions=tuple(_prediction(proof, sample) for proof in proofs if proof.upgrade_s is not None),
        **facts,
    )


def _refuse_production(target: Target, scratch_url: URL) -> None:
    """Refuse the target's own database; the caller's mistake must not become an outage."""
    here, there = ((url.host, url.port or 5432, url.database) for url in (scratch_url, target.url))
    if here == there:
        raise ConfigurationError(
            f"{scratch_url.database!r} is the database of target {target.name!r}: a rehearsal runs on a copy."
        )


def _rules(target: Target, url: URL, run_id: str) -> list[Check]:
    rules = load_rules(target.require_alembic().rules_dir)
    return check_rules(url, rules, timeout_ms=target.policies.rule_timeout_ms, run_id=run_id)


def _prediction(proof: RevisionProof, sample: Sample | None) -> RevisionPrediction:
    cost, duration_s = _expected(proof, sample)
    return RevisionPrediction(
        revision=proof.revision,
        duration_s=duration_s,
        own_writes=proof.own_writes,
        changes=proof.changes,
        cost=cost,
    )


def _estimate(proof: RevisionProof, sample: Sample | None) -> RevisionEstimate:
    cost, duration_s = _expected(proof, sample)
    return RevisionEstimate(
        revision=proof.revision,
        duration_s=round(duration_s, 3),
        cost=cost,
        changes=proof.changes,
        own_writes=proof.own_writes,
        data_changes=proof.data_changes,
        irreversible_because=proof.reason if proof.state is ProofState.IRREVERSIBLE else None,
        leaves=tuple(
            f"{one.message}, allowed: {one.allowed_because}" for one in proof.findings if one.allowed_because
        ),
    )


def _expected(proof: RevisionProof, sample: Sample | None) -> tuple[RevisionCost | None, float]:
    measured = proof.cost, proof.upgrade_s or 0.0
    return measured if sample is None else sample.scaled(*measured)


def _in_production(way: WayBack, proofs: Sequence[RevisionProof], sample: Sample | None) -> WayBack:
    """Return a downgrade's time scaled as those of the upgrades are: its own cost is not measured."""
    upgrades_s = sum(proof.upgrade_s or 0.0 for proof in proofs)
    if way.duration_s is None or not upgrades_s:
        return way
    factor = sum(_expected(proof, sample)[1] for proof in proofs) / upgrades_s
    return way.model_copy(update={"duration_s": round(way.duration_s * factor, 3)})


def _names(revisions: tuple[str, ...]) -> str:
    return ", ".join(sorted(revisions)) or "base"
