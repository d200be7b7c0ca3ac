"""What a target is: its database, its Alembic project, its storage and its policies.

The models here hold resolved values. Where they come from is somebody else's concern: the command
line's registry (``lockkeeper.registry``) or a Prefect block (``tasks.blocks``).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from lockkeeper.errors import ConfigurationError
from lockkeeper.redaction import register_secret

TARGET_NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
"""Prefect's block and artifact keys allow no more than this."""


class _Settings(BaseModel):
    # Pydantic's errors repeat what was wrong; here that may be a URL with a password.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class AlembicSettings(_Settings):
    """The user's Alembic project, run unchanged with its own interpreter in a process of its own."""

    config_file: Path = Field(description="Path of the project's alembic.ini.")
    working_dir: Path | None = Field(
        default=None, description="Folder to run Alembic in; default is the folder of the config file."
    )
    python: Path | None = Field(
        default=None, description="The project's own Python interpreter; default is Lockkeeper's own."
    )
    ini_section: str = Field(default="alembic", description="Section of the ini file (alembic -n).")
    url_env: str | None = Field(
        default="DATABASE_URL",
        description="Environment variable in which env.py looks for the URL; also set as sqlalchemy.url.",
    )
    driver: str | None = Field(
        default=None,
        description="SQLAlchemy driver for the URL, e.g. asyncpg; default is that of the ini's URL.",
    )
    x_arguments: dict[str, str] = Field(
        default_factory=dict,
        description="alembic -x arguments; '{url}' in a value becomes the URL (never seen in argv).",
    )
    environment: dict[str, SecretStr] = Field(
        default_factory=dict, description="Further environment variables for the project."
    )
    rules_dir: Path | None = Field(
        default=None,
        description="Folder of *.sql files, each a query that must return no row after a migration.",
    )

    @property
    def folder(self) -> Path:
        """The folder that Alembic runs in."""
        return self.working_dir or self.config_file.parent

    @property
    def interpreter(self) -> Path:
        """The Python interpreter that Alembic runs with."""
        return self.python or Path(sys.executable)


class LocalStorageSettings(_Settings):
    """A folder on this machine: the plainest storage."""

    kind: Literal["local"] = "local"
    path: Path


class S3StorageSettings(_Settings):
    """A bucket of an S3-compatible service. Without keys, boto3's own chain of credentials is used."""

    kind: Literal["s3"] = "s3"
    bucket: str = Field(min_length=3)
    prefix: str = ""
    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: SecretStr | None = None
    secret_access_key: SecretStr | None = None
    session_token: SecretStr | None = Field(default=None, description="Of temporary credentials.")

    @model_validator(mode="after")
    def _keys_come_in_pairs(self) -> S3StorageSettings:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key are given together or not at all")
        return self


StorageSettings = Annotated[LocalStorageSettings | S3StorageSettings, Field(discriminator="kind")]


AlertAction = Literal["pause-renames", "cancel-migration", "recover"]


class Policies(_Settings):
    """What Lockkeeper may do to a target, and when it must stop and ask."""

    lock_timeout_ms: int = Field(default=1000, ge=1, description="lock_timeout of the migration's session.")
    statement_timeout_ms: int = Field(default=0, ge=0, description="statement_timeout there; 0 is none.")
    lock_retries: int = Field(default=20, ge=0, description="How often a revision is retried after 55P03.")
    retry_base_delay_s: float = Field(default=0.5, gt=0, description="First pause of the backoff.")
    retry_max_delay_s: float = Field(default=15.0, gt=0, description="Longest pause of the backoff.")
    migration_timeout_s: float = Field(default=3600, gt=0, description="Limit for one revision.")
    lock_wait_s: float = Field(
        default=0, ge=0, description="How long to wait for another migration of this database to end."
    )
    rehearsal: Literal["full", "sampled", "schema-only", "off"] = Field(
        default="full",
        description=(
            "'full' upgrades, downgrades and upgrades again a restored copy before production is touched; "
            "'sampled' does the same with about sample_rows rows of each table and what they refer to; "
            "'schema-only' does the same but compares no data; 'off' goes without."
        ),
    )
    sample_rows: int = Field(default=10_000, ge=1, description="Rows of each table in a sampled rehearsal.")
    max_block_ms: int = Field(
        default=500, ge=0, description="Budget: how long one revision may hold a lock that others wait for."
    )
    blocking: Literal["writes", "reads"] = Field(
        default="writes",
        description=(
            "Which locks count against it: 'writes' all that writers wait for, 'reads' only those that "
            "readers wait for, too."
        ),
    )
    approval: Literal["never", "over-budget", "always"] = Field(
        default="never",
        description=(
            "Whether a human must approve after the rehearsal: 'over-budget' when a lock is held for too "
            "long, the lint finds a danger that was not refuted, or either could not be told."
        ),
    )
    approval_timeout_s: float = Field(
        default=86_400, gt=0, description="How long a run in Prefect waits for the approval."
    )
    recovery: Literal["lossless", "accept-loss", "manual"] = Field(
        default="lossless",
        description=(
            "When only a restore helps: 'lossless' restores only when no write was committed since the "
            "backup, 'accept-loss' restores anyway, 'manual' always asks a human."
        ),
    )
    capture: Literal["auto", "off"] = Field(
        default="auto",
        description=(
            "'auto' captures what is written since the backup wherever the server permits it, so that a "
            "recovery loses nothing; 'off' never does."
        ),
    )
    without_capture: Literal["accept", "fence", "refuse"] = Field(
        default="accept",
        description=(
            "Where nothing can be captured: 'accept' goes on, and restores by itself only when nothing was "
            "written since the backup; 'fence' lets applications only read from the backup on until the run "
            "has ended, so that nothing can be lost; 'refuse' does not start."
        ),
    )
    bake_time_s: float = Field(
        default=0,
        ge=0,
        description="How long after a migration its way back is kept, for `lockkeeper undo`; costs a copy.",
    )
    recovery_objective_s: float = Field(
        default=300, gt=0, description="How long a recovery from storage may take; drills alert beyond it."
    )
    keep_quarantine: bool = Field(default=True, description="Keep the failed database after a restore.")
    retention_count: int = Field(default=7, ge=1, description="Verified backups that are always kept.")
    retention_days: int = Field(default=30, ge=0, description="Backups younger than this are kept.")
    backup_kind: Literal["dump", "physical", "snapshot"] = Field(
        default="dump",
        description=(
            "What `lockkeeper backup` and drills use: a 'dump' of the database, or a 'physical' backup of "
            "its whole server, which comes back faster where there is much data, or a 'snapshot' by a "
            "managed service. Migrations make a dump."
        ),
    )
    physical_folder: str = Field(
        default="",
        description="Folder on this machine in which physical backups come back as servers of their own.",
    )
    physical_listen: str = Field(
        default="127.0.0.1", description="Addresses that a server brought back listens on."
    )
    physical_port: int = Field(default=0, ge=0, le=65535, description="Its port; 0 takes a free one.")
    managed_source: str = Field(
        default="", description="What snapshots are made of: rds:INSTANCE or aurora:CLUSTER."
    )
    managed_region: str = Field(default="", description="Its region; default is that of boto3's own chain.")
    switch_command: str = Field(
        default="",
        description=(
            "Points applications at a server brought back: run without a shell, with LOCKKEEPER_HOST, "
            "LOCKKEEPER_PORT and LOCKKEEPER_DATABASE; without it a human does."
        ),
    )
    restore_jobs: int = Field(default=4, ge=1, le=64, description="Parallel jobs of pg_restore.")
    max_replication_lag_bytes: int = Field(default=64 * 2**20, ge=0, description="Preflight limit.")
    max_transaction_age_s: float = Field(
        default=60, gt=0, description="Preflight refuses while a transaction is older than this."
    )
    monitor_interval_s: float = Field(default=0.5, gt=0, description="Pause between two samples.")
    history_days: float = Field(
        default=90,
        ge=0,
        description="How long the numbers of scheduled looks are kept; 0: not at all.",
    )
    impact_block_s: float = Field(
        default=5.0,
        ge=0,
        description="Longest that a migration may keep a session waiting; 0: no limit.",
    )
    impact_blocked_sessions: int = Field(
        default=0, ge=0, description="Most sessions that a migration may keep waiting at once; 0: no limit."
    )
    impact_probe_sql: str = Field(
        default="SELECT 1",
        description="A query of the application's that is timed beside a migration.",
    )
    impact_probe_ms: float = Field(
        default=0, ge=0, description="Longest that the probe query may take beside a migration; 0: no limit."
    )
    impact_lag_bytes: int = Field(
        default=0, ge=0, description="Most that a replica may be behind beside a migration; 0: no limit."
    )
    impact_action: Literal["warn", "throttle", "cancel"] = Field(
        default="throttle",
        description=(
            "What crossing one of the impact_ limits does: 'warn' tells, 'throttle' also makes backfills "
            "pause, 'cancel' also cancels the migration's statement that others wait for."
        ),
    )
    end_idle_blockers_s: float = Field(
        default=0,
        ge=0,
        description=(
            "End a session that the migration waits for, once it has been idle in its transaction for so "
            "long; 0: never end anybody else's session."
        ),
    )
    alert_limits: dict[str, float] = Field(
        default_factory=dict,
        description="Limits of alerts that differ from the usual, e.g. long-query=300,dead-rows=inf.",
    )
    alert_actions: tuple[AlertAction, ...] = Field(
        default=("pause-renames",),
        description=(
            "What an automation may do on an alert, comma-separated: "
            "pause-renames, cancel-migration, recover."
        ),
    )
    model_differences: Literal["ignore", "warn", "fail"] = Field(
        default="warn",
        description="What differences from the models mean, after a migration to head.",
    )
    rule_timeout_ms: int = Field(default=60_000, ge=1, description="statement_timeout of one rule.")

    @field_validator("alert_limits", mode="before")
    @classmethod
    def _may_be_one_text(cls, value: object) -> object:
        """Take ``a=1,b=2`` too: that is how a command line gives it."""
        if not isinstance(value, str):
            return value
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        return {name.strip(): limit.strip() for name, _, limit in pairs}

    @field_validator("alert_actions", mode="before")
    @classmethod
    def _may_be_a_list_in_one_text(cls, value: object) -> object:
        """Take ``pause-renames,recover`` too."""
        if not isinstance(value, str):
            return value
        return tuple(action.strip() for action in value.split(",") if action.strip())


class Target(_Settings):
    """One database to be migrated, with all that is needed for it. Holds secrets: never log it."""

    name: str = Field(pattern=TARGET_NAME_PATTERN)
    database_url: SecretStr
    alembic: AlembicSettings | None = None
    storage: StorageSettings
    scratch_url: SecretStr | None = Field(
        default=None, description="Server for scratch databases; default is the target's own server."
    )
    maintenance_database: str = Field(
        default="postgres", description="Database that is always there: for CREATE DATABASE, locks, swaps."
    )
    client_bin_dir: Path | None = Field(default=None, description="Folder of pg_dump and pg_restore.")
    slack_webhook_url: SecretStr | None = None
    alert_webhook_url: SecretStr | None = Field(
        default=None, description="Gets every alert as JSON, by POST, when it fires and when it is resolved."
    )
    policies: Policies = Policies()

    @field_validator("database_url", "scratch_url")
    @classmethod
    def _is_postgresql_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_postgresql_url(value.get_secret_value())
        return value

    def model_post_init(self, _context: object) -> None:
        """Make every secret known to the redaction before it can reach any text."""
        secrets = [self.slack_webhook_url, self.alert_webhook_url]
        secrets += [*(self.alembic.environment.values() if self.alembic else ())]
        if isinstance(self.storage, S3StorageSettings):
            secrets += [self.storage.secret_access_key, self.storage.session_token]
        for secret in secrets:
            register_secret(secret.get_secret_value() if secret else None)
        for url in (self.database_url, self.scratch_url):
            if url is not None:
                register_secret(parse_postgresql_url(url.get_secret_value()).password)

    @property
    def url(self) -> URL:
        """The database's URL."""
        return parse_postgresql_url(self.database_url.get_secret_value())

    @property
    def database(self) -> str:
        """The database's name."""
        return str(self.url.database)

    @property
    def maintenance_url(self) -> URL:
        """The maintenance database on the target's server."""
        return self.url.set(database=self.maintenance_database)

    @property
    def scratch_server_url(self) -> URL:
        """A database on the server that scratch databases are made on."""
        if self.scratch_url is None:
            return self.maintenance_url
        return parse_postgresql_url(self.scratch_url.get_secret_value())

    def require_alembic(self) -> AlembicSettings:
        """Return the Alembic project; raises ConfigurationError when the target has none."""
        if self.alembic is None:
            raise ConfigurationError(
                f"Target {self.name!r} has no Alembic project. Add one with --alembic path/to/alembic.ini."
            )
        return self.alembic


def parse_postgresql_url(text: str) -> URL:
    """Parse a PostgreSQL URL and refuse others, without ever repeating the URL (it holds a password)."""
    try:
        url = make_url(text)
    except ArgumentError:
        raise ValueError(
            "not a database URL; expected postgresql://user:password@host:port/database"
        ) from None
    if url.get_backend_name() not in {"postgresql", "postgres"}:
        raise ValueError(f"a {url.get_backend_name()} URL; Lockkeeper migrates PostgreSQL")
    if not url.database:
        raise ValueError("the URL names no database; expected postgresql://user:password@host:port/database")
    return url.set(drivername="postgresql")
