"""What scheduled looks saw, kept in the storage for as long as a policy says, so that trends can be drawn.

In the storage and not in a table: a look reads only, its role needs no right to write, and a restored
database must not bring an old history along. A look is a small object under
``<target>/monitor/history/looks/``; sixty of them are packed into one under ``hours/``, twenty-four of those
into one under ``days/`` (the names are those of a look a minute). No object is ever written twice or changed:
a pack is written first, and what is in it deleted then. So two writers at once, or one that is killed at any
point, leave a sample twice at worst, and a sample that is read twice counts once.
"""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone

from pydantic import Field, ValidationError

from lockkeeper.errors import StorageError
from lockkeeper.models import Fact
from lockkeeper.monitoring.readings import Look
from lockkeeper.storage import Storage

LOOKS, HOURS, DAYS = "looks", "hours", "days"
_PACKED_INTO = {LOOKS: (60, HOURS), HOURS: (24, DAYS)}
MOST_PACKED = 1440
TABLES_KEPT = 10
_STAMP = "%Y%m%dT%H%M%S.%fZ"


class Sample(Fact):
    """One look's numbers; what could not be read is None. Counters grow from the statistics' last reset."""

    at: datetime
    id: str = Field(default_factory=lambda: uuid.uuid4().hex[:12])
    size_bytes: int | None = None
    tables: dict[str, int] = Field(
        default_factory=dict, description="The largest, with their indexes, bytes."
    )
    connections: int
    connections_max: int
    active: int
    waits: int
    longest_wait_s: float
    longest_transaction_s: float
    commits: int | None = None
    rollbacks: int | None = None
    wal_bytes: int | None = None
    dead_rows: int | None = None
    xid_age: int | None = None
    lag_bytes: int | None = None
    slot_bytes: int | None = None
    disk_free_share: float | None = None


def sample_of(look: Look) -> Sample:
    """Return what is kept of a look."""
    activity, vitals = look.activity, look.vitals
    database = vitals.database if vitals is not None else None
    tables = vitals.tables if vitals is not None and "tables" not in vitals.unseen else None
    sized = sorted((-(one.total_bytes or 0), one.name) for one in tables or ())
    lags = [one.lag_bytes for one in (vitals.replicas if vitals else ()) if one.lag_bytes is not None]
    return Sample(
        at=activity.at,
        size_bytes=database.size_bytes if database else None,
        tables={name: -size for size, name in sized[:TABLES_KEPT] if size},
        connections=activity.connections,
        connections_max=activity.max_connections,
        active=activity.active,
        waits=len({wait.waiter_pid for wait in activity.waits}),
        longest_wait_s=round(max((wait.waiting_s for wait in activity.waits), default=0.0), 3),
        longest_transaction_s=round(max((one.transaction_s for one in activity.sessions), default=0.0), 3),
        commits=database.commits if database else None,
        rollbacks=database.rollbacks if database else None,
        wal_bytes=vitals.wal_bytes if vitals else None,
        dead_rows=sum(one.dead_rows for one in tables) if tables is not None else None,
        xid_age=database.xid_age if database else None,
        lag_bytes=max(lags, default=None),
        slot_bytes=max((one.retained_bytes for one in vitals.slots), default=None) if vitals else None,
        disk_free_share=vitals.disk_free_share if vitals else None,
    )


def keep_sample(storage: Storage, target: str, sample: Sample, keep_days: float) -> None:
    """Write one sample; packs older ones and deletes those beyond ``keep_days`` when it is time.

    Can be called twice at once and killed anywhere. Raises StorageError.
    """
    _write(storage, target, LOOKS, [sample])
    packed = [_pack(storage, target, tier) for tier in _PACKED_INTO]
    if any(packed):
        _expire(storage, target, sample.at - timedelta(days=keep_days))


def read_samples(storage: Storage, target: str, since: datetime) -> list[Sample]:
    """Return the samples since then, by time, each once; raises StorageError for an unreadable object."""
    found: dict[str, Sample] = {}
    for tier in (LOOKS, HOURS, DAYS):  # in the direction in which they are packed: none is missed meanwhile
        for key in _keys(storage, target, tier):
            if _last(key) >= since:
                found.update((sample.id, sample) for sample in _read(storage, key))
    return sorted((one for one in found.values() if one.at >= since), key=lambda one: (one.at, one.id))


def _folder(target: str, tier: str) -> str:
    return f"{target}/monitor/history/{tier}/"


def _keys(storage: Storage, target: str, tier: str) -> list[str]:
    return [found.key for found in storage.list(_folder(target, tier)) if found.key.endswith(".jsonl.gz")]


def _stamp(at: datetime) -> str:
    return at.astimezone(timezone.utc).strftime(_STAMP)


def _last(key: str) -> datetime:
    """Return when the last sample in an object was taken, as its name says."""
    name = key.rpartition("/")[2].removesuffix(".jsonl.gz")
    try:
        return datetime.strptime(name.split("_")[1], _STAMP).replace(tzinfo=timezone.utc)
    except (IndexError, ValueError) as error:
        problem = f"{key} is not named as the monitor names its history. Move it away."
        raise StorageError(problem, key) from error


def _write(storage: Storage, target: str, tier: str, samples: Sequence[Sample]) -> None:
    name = f"{_stamp(samples[0].at)}_{_stamp(samples[-1].at)}_{uuid.uuid4().hex[:8]}"
    lines = "".join(sample.model_dump_json(exclude_none=True) + "\n" for sample in samples)
    storage.put_bytes(f"{_folder(target, tier)}{name}.jsonl.gz", gzip.compress(lines.encode(), mtime=0))


def _read(storage: Storage, key: str) -> list[Sample]:
    """Return the samples of one object, none when another has packed and deleted it meanwhile."""
    try:
        packed = storage.get_bytes(key)
    except StorageError:
        if storage.exists(key):
            raise
        return []
    try:
        return [Sample.model_validate(json.loads(line)) for line in gzip.decompress(packed).splitlines()]
    except (OSError, EOFError, ValueError, ValidationError) as error:
        raise StorageError(f"{key} is not a monitor's history ({error}). Move it away.", key) from error


def _pack(storage: Storage, target: str, tier: str) -> bool:
    """Pack a tier when enough is in it; what was packed is deleted only after the pack is safe."""
    enough, into = _PACKED_INTO[tier]
    keys = _keys(storage, target, tier)[:-1][:MOST_PACKED]  # the newest stays: no folder is ever empty
    if len(keys) < enough:
        return False
    samples = {sample.id: sample for key in keys for sample in _read(storage, key)}
    if samples:
        _write(storage, target, into, sorted(samples.values(), key=lambda one: (one.at, one.id)))
    _delete(storage, keys)
    return True


def _expire(storage: Storage, target: str, before: datetime) -> None:
    for tier in (LOOKS, HOURS, DAYS):
        _delete(storage, (key for key in _keys(storage, target, tier) if _last(key) < before))


def _delete(storage: Storage, keys: Iterable[str]) -> None:
    for key in keys:
        storage.delete(key)
