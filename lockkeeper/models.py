"""What steps hand to each other: frozen, typed, JSON-able and free of secrets."""

from __future__ import annotations

from datetime import datetime, timezone
from enum import Enum
from typing import Any

from pydantic import Field

from lockkeeper.backup_kinds import BackupKind as BackupKind
from lockkeeper.backup_kinds import Instance as Instance
from lockkeeper.backup_kinds import PhysicalFacts as PhysicalFacts
from lockkeeper.fact import Fact as Fact
from lockkeeper.measured import BackfillSeries, MonitorSummary, RevisionCost, Risk, SelfWait


def utc_now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(timezone.utc)


class CheckState(str, Enum):
    """Outcome of one check. A check that could not run is not a check that passed."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "could not check"


class Check(Fact):
    """One preflight or verification check; ``message`` says what was seen and, if bad, what to do."""

    name: str
    state: CheckState
    message: str

    @property
    def refuses(self) -> bool:
        """Whether this check forbids going on."""
        return self.state in (CheckState.FAILED, CheckState.UNKNOWN)


class Revision(Fact):
    """One Alembic revision of a plan."""

    id: str
    down: tuple[str, ...] = ()
    branch_labels: tuple[str, ...] = ()
    message: str = ""
    depends_on: tuple[str, ...] = ()
    path: str = ""
    irreversible: bool = Field(
        default=False, description="It has no downgrade, an empty one, or one that only raises."
    )
    irreversible_because: str | None = Field(
        default=None, description="The file's own lockkeeper_irreversible: why there is no way back."
    )
    leaves: dict[str, str] = Field(
        default_factory=dict,
        description="The file's own lockkeeper_leaves: what its downgrade may leave changed -> why.",
    )


class MigrationPlan(Fact):
    """What would be applied, in order. ``before`` and ``after`` are the version table's contents, sorted."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    steps: tuple[Revision, ...]
    destination: str
    reaches_head: bool
    version_table: str | None = Field(default=None, description="Qualified and quoted, as env.py names it.")
    version_table_exists: bool = True


class RevisionTiming(Fact):
    """One applied (or reverted) revision."""

    revision: str
    duration_s: float
    attempts: int = 1
    lock_timeouts: int = 0
    rehearsed_s: float | None = Field(default=None, description="How long it took in the rehearsal.")
    cost: RevisionCost | None = Field(default=None, description="None when it could not be measured.")
    self_wait: SelfWait | None = Field(
        default=None, description="What it waited for in vain, before it was begun anew in a fresh process."
    )
    own_writes: dict[str, tuple[int, int, int]] | None = Field(
        default=None,
        description=(
            "table -> rows inserted, updated, deleted by the revision itself, never more than it wrote "
            "(those of attempts that were rolled back are missing, though the server counts them); None "
            "when that is not known, as after statements outside a transaction"
        ),
    )


class TableFingerprint(Fact):
    """Content of one table, independent of row order and of physical layout.

    ``digest`` covers whole rows, ``columns`` each column by itself; equal digests mean equal content.
    """

    table: str = Field(description='Qualified and quoted, e.g. public.users or "My Schema"."T".')
    kind: str = "table"
    rows: int
    digest: str
    columns: dict[str, str] = Field(default_factory=dict)


class DataFingerprint(Fact):
    """Content of a database at one snapshot."""

    tables: dict[str, TableFingerprint]
    sequences: dict[str, str] = Field(default_factory=dict, description="name -> 'last_value,is_called'")
    large_objects: TableFingerprint | None = None


class SchemaFingerprint(Fact):
    """Everything in the catalogue that matters: kind of object -> identity -> its properties."""

    objects: dict[str, dict[str, dict[str, Any]]]


class BackupState(str, Enum):
    """A backup is not done when the dump ends; it is done when it has been verified."""

    STARTED = "started"
    UPLOADED = "uploaded"
    VERIFIED = "verified"
    FAILED = "failed"
    EXPIRED = "expired"


class DatabaseProperties(Fact):
    """What pg_dump of one database leaves out: needed to make a copy that can take its place."""

    owner: str
    encoding: str
    collate: str
    ctype: str
    locale_provider: str = "c"
    locale: str | None = None
    tablespace: str = "pg_default"
    connection_limit: int = -1
    acl: tuple[str, ...] | None = None
    comment: str | None = None
    settings: tuple[tuple[str | None, str, str], ...] = Field(
        default=(), description="(role or None, parameter, value) of ALTER DATABASE/ROLE ... SET"
    )


class BackupManifest(Fact):
    """The truth about one backup, written last and kept beside the dump."""

    id: str
    kind: BackupKind = BackupKind.DUMP
    physical: PhysicalFacts | None = Field(default=None, description="Of a physical backup.")
    target: str
    database: str
    state: BackupState
    created_at: datetime
    updated_at: datetime
    reason: str | None = None
    server_version_num: int
    system_identifier: str | None = None
    revisions: tuple[str, ...] = ()
    snapshot: str | None = None
    lsn: str | None = None
    dump_key: str | None = None
    size_bytes: int | None = None
    uncompressed_bytes: int | None = None
    schema_bytes: int | None = Field(
        default=None,
        description="The first of the uncompressed bytes: an archive of the schema; then a script of data.",
    )
    sha256: str | None = None
    roles_sql: str | None = Field(default=None, description="Roles, without passwords.")
    properties: DatabaseProperties | None = None
    schema_fingerprint: SchemaFingerprint | None = None
    data_fingerprint: DataFingerprint | None = None
    write_counters: dict[str, tuple[int, int, int]] | None = Field(
        default=None,
        description="table -> inserted, updated, deleted rows counted when the snapshot was taken",
    )
    counters_epoch: str | None = Field(default=None, description="Changes when the counters start again.")
    table_identities: dict[str, str] | None = Field(
        default=None,
        description="table -> 'oid/filenode': follows renames; a new filenode is a TRUNCATE or a rewrite",
    )
    captured: bool = Field(
        default=False, description="What is written since its snapshot is captured, by the run that made it."
    )
    former_identities: dict[str, str] = Field(
        default_factory=dict,
        description="table -> its REPLICA IDENTITY before the capture, which it has again when it serves",
    )
    database_bytes: int | None = Field(default=None, description="pg_database_size at the snapshot.")
    layout: dict[str, str] = Field(
        default_factory=dict,
        description="table -> its file and column numbers, which change when it is rewritten",
    )
    tool_versions: dict[str, str] = Field(default_factory=dict)
    timings_s: dict[str, float] = Field(default_factory=dict)


class BackupVerification(Fact):
    """What was compared when a backup was restored for proof."""

    backup_id: str
    tables: int
    rows: int
    restore_s: float
    duration_s: float
    copy_database: str | None = Field(
        default=None, description="The verified copy on the scratch server, where the run keeps it."
    )


class WarmCopy(Fact):
    """What became of the verified copy of a captured backup, and where the rehearsal takes place."""

    warm: bool = Field(description="It is kept, and everything that is written is replayed into it.")
    rehearsal_database: str | None
    message: str


class RestoreReport(Fact):
    """One restore: what now serves, what was put aside, and how long writes were refused."""

    backup_id: str
    database: str
    quarantine_database: str | None
    fence_s: float
    duration_s: float
    revisions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    replayed_changes: int | None = Field(
        default=None, description="Row changes since the backup that were replayed; None without a capture."
    )
    parked: tuple[str, ...] = Field(
        default=(), description="Writes that could not be carried over, one readable line each."
    )
    parked_table: str | None = Field(default=None, description="Where they are in the database.")
    instance: Instance | None = Field(default=None, description="Where a physical backup serves now.")


class DrillReport(Fact):
    """One drill: a backup brought back from storage, and how long a recovery from it would take."""

    run_id: str
    target: str
    backup_id: str
    backup_kind: BackupKind = BackupKind.DUMP
    backup_made_at: datetime
    started_at: datetime
    database_bytes: int
    rows: int
    restore_s: float
    compare_s: float
    analyze_s: float
    predicted_recovery_s: float
    loss_window_s: float = Field(description="Age of what comes back; 0 where writes are captured.")
    objective_s: float

    @property
    def within_objective(self) -> bool:
        """Whether a recovery is predicted to be as fast as the target demands."""
        return self.predicted_recovery_s <= self.objective_s


class StepState(str, Enum):
    """Outcome of one step of a run."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


class Step(Fact):
    """One step of a run as the report shows it."""

    name: str
    state: StepState
    started_at: datetime
    duration_s: float = 0.0
    detail: str = ""


class Outcome(str, Enum):
    """How a run ended. See ``exit_code``."""

    SUCCEEDED = "succeeded"
    NOTHING_TO_DO = "nothing to do"
    REFUSED = "refused"
    FAILED = "failed"
    UNCHANGED = "failed, database unchanged"
    RECOVERED = "failed and recovered"
    NEEDS_HUMAN = "needs a human"
    NEEDS_APPROVAL = "needs approval"
    WAITING = "waits for approval"
    REJECTED = "rejected"
    ABORTED = "aborted, everything is as before"

    @property
    def exit_code(self) -> int:
        """The command line's exit code for this outcome."""
        if self in (Outcome.SUCCEEDED, Outcome.NOTHING_TO_DO, Outcome.WAITING):
            return 0
        return {Outcome.REFUSED: 2, Outcome.NEEDS_APPROVAL: 2, Outcome.NEEDS_HUMAN: 3}.get(self, 1)


class RecoveryAttempt(Fact):
    """One rung of the recovery ladder: what was tried and why it was or was not enough."""

    rung: str
    succeeded: bool
    reason: str
    duration_s: float = 0.0
    predicted_s: float | None = None
    loses: str | None = Field(default=None, description="What the rung would lose, as the ladder said it.")


class Decision(str, Enum):
    """What a human may answer: go on, do not go on, or undo what there is so far and end."""

    APPROVE = "approve"
    REJECT = "reject"
    ABORT = "abort"


class Approval(Fact):
    """One human's answer to one question.

    ``approver`` is what somebody has typed: no server has checked it. ``recorded_by`` is what can be told
    of whoever has sent the answer.
    """

    key: str = Field(description="Which question was answered.")
    decision: Decision
    reason: str = ""
    approver: str = ""
    recorded_by: str = ""
    decided_at: datetime

    def __str__(self) -> str:
        """Say it in a line, e.g. ``approved by ada: within the window``."""
        verb = {"approve": "approved", "reject": "rejected", "abort": "aborted"}[self.decision.value]
        who = f"{verb} by {self.approver or 'somebody unnamed'}"
        return f"{who}: {self.reason}" if self.reason else who


class RunReport(Fact):
    """The whole story of one run: printed, stored as JSON, shown in Prefect, sent to Slack."""

    run_id: str
    operation: str
    target: str
    database: str
    outcome: Outcome | None = None
    started_at: datetime
    duration_s: float = 0.0
    initiator: str = ""
    requested_revision: str | None = None
    plan: MigrationPlan | None = None
    revisions: tuple[RevisionTiming, ...] = ()
    risk: Risk | None = Field(default=None, description="By the rehearsal; None without one.")
    revisions_sha256: str | None = Field(
        default=None, description="Of the files of the plan's revisions, where an approval was asked for."
    )
    approval: Approval | None = Field(default=None, description="The answer that this run acted upon.")
    backup_id: str | None = None
    own_writes: dict[str, tuple[int, int, int]] | None = Field(
        default=None, description="Of a migration that needs a human, as RevisionTiming's, all together."
    )
    restore: RestoreReport | None = None
    checks: tuple[Check, ...] = ()
    recovery: tuple[RecoveryAttempt, ...] = ()
    monitor: MonitorSummary | None = None
    backfill: BackfillSeries | None = Field(default=None, description="Of a rename that filled rows.")
    drill: DrillReport | None = Field(default=None, description="The newest one before the run, or its own.")
    steps: tuple[Step, ...] = ()
    error: str | None = None
    next_command: str | None = None
    link: str | None = None
    warnings: tuple[str, ...] = ()


class Answered(Fact):
    """A human's answer, together with what was asked: the run that had to stop for it."""

    approval: Approval
    asked: RunReport
