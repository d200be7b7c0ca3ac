"""What somebody asks for: which column, under which flag, how fast and with which limits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from lockkeeper.by_hand import LEFT_OUT, AskedRename
from lockkeeper.errors import ConfigurationError
from lockkeeper.flags.ramp import RampPolicy
from lockkeeper.flags.switch import FlagHook
from lockkeeper.models import Fact
from lockkeeper.rename import ColumnChange

_FLAG_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_DAY_S = 86_400


class ThrottlePolicy(Fact):
    """When the backfill slows down or waits; whatever is not given keeps the engine's own default."""

    batch_rows: int | None = Field(default=None, ge=1, description="Most rows of one batch.")
    batch_ms: int | None = Field(default=None, ge=1, description="How long a batch should take at most.")
    pause_ms: int | None = Field(default=None, ge=0, description="Pause between two batches.")
    max_replication_lag_mb: float | None = Field(default=None, gt=0, description="Of any standby or slot.")
    max_lock_waiters: int | None = Field(default=None, ge=0, description="Sessions that wait for a lock.")
    max_probe_ms: float | None = Field(default=None, gt=0, description="How long the probe query may take.")
    probe_sql: str | None = Field(default=None, description="A query of the application's kind.")
    max_wal_mb_s: float | None = Field(default=None, gt=0, description="WAL that the server writes.")
    max_dead_rows: int | None = Field(default=None, ge=0, description="That autovacuum has not come to yet.")
    share_percent: float | None = Field(
        default=None, gt=0, le=100, description="Of its time that it works while others use the server."
    )
    vacuum_percent: float | None = Field(
        default=None, ge=0, description="VACUUM when so many percent of the rows were written; 0 never."
    )
    metric_sql: str | None = Field(default=None, description="A query that returns one number of yours.")
    metric_url: str | None = Field(
        default=None, pattern="^https?://", description="A web address that returns one number."
    )
    max_metric: float | None = Field(default=None, description="Above this the backfill waits.")
    on_failing_row: Literal["park", "stop"] | None = Field(
        default=None, description="What becomes of a row that cannot be filled: set aside, or the end."
    )

    def given(self) -> dict[str, Any]:
        """Return what was set."""
        return self.model_dump(exclude_none=True)


class RenamePolicy(Fact):
    """How a rename is done. The defaults are careful; a form shows them all."""

    throttle: ThrottlePolicy = Field(default=ThrottlePolicy(), description="When the backfill slows down.")
    workers: int = Field(default=1, ge=1, le=16, description="Parallel workers of the backfill.")
    ramp: RampPolicy = Field(default=RampPolicy(), description="How the flag rises.")
    flag_hook: FlagHook | None = Field(default=None, description="An external flag service to tell, too.")
    scream_s: float = Field(
        default=60.0, ge=0, description="How long the old column is hidden before it goes, in seconds."
    )
    retention_s: int = Field(
        default=7 * _DAY_S, ge=0, description="How long the old column is kept in quarantine, still written."
    )
    conflict: Literal["refuse", "new", "old"] = Field(
        default="refuse", description="What a statement means that sets both columns to different values."
    )
    approval_timeout_s: float = Field(
        default=3 * _DAY_S, gt=0, description="How long a question waits for its answer, in seconds."
    )


@dataclass(frozen=True)
class RenameRequest:
    """One rename of one target's column."""

    change: ColumnChange
    flag: str
    policy: RenamePolicy

    @property
    def subject(self) -> str:
        """The change in a few words, the same whatever type or policy is given with it."""
        return f"{self.change.table}.{self.change.old} -> {self.change.new}"

    def asked(self) -> AskedRename:
        """Return what makes a printed line this request: all that differs from a bare one.

        Addresses are left out, for they may hold a token; what stands for them is refused when it is given.
        """
        policy = self.policy.model_dump(mode="json", exclude_defaults=True)
        for place, name in (("throttle", "metric_url"), ("flag_hook", "url")):
            if policy.get(place, {}).get(name):
                policy[place][name] = LEFT_OUT
        change = self.change
        flag = None if self.flag == default_flag(change.old) else self.flag
        values = {"new_type": change.new_type, "up": change.up, "down": change.down, "flag": flag}
        given = {name: value for name, value in {**values, "policy": policy}.items() if value}
        return AskedRename(change.table, change.old, change.new, given)


def default_flag(old: str) -> str:
    """Return the flag's name that belongs to a column: ``description`` -> ``use-new-description``."""
    return "use-new-" + (re.sub(r"[^a-z0-9]+", "-", old.lower()).strip("-") or "column")


def make_request(
    table: str,
    old: str,
    new: str,
    *,
    new_type: str | None = None,
    up: str | None = None,
    down: str | None = None,
    flag: str | None = None,
    policy: RenamePolicy | None = None,
) -> RenameRequest:
    """Put a request together.

    Raises:
        ConfigurationError: a name is missing, or cannot be one.
    """
    policy = policy or RenamePolicy()
    flag = flag or default_flag(old)
    if not _FLAG_NAME.fullmatch(flag):
        raise ConfigurationError(f"{flag!r} cannot be a flag's name: use small letters, digits and - _ .")
    change = ColumnChange(
        table, old, new, new_type or None, up or None, down or None, policy.conflict, policy.retention_s
    )
    return RenameRequest(change, flag, policy)
