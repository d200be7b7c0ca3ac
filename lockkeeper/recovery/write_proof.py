"""Proves that a restore would lose no write: table by table, from facts, else the table is named.

A table is proven when one of these holds (``gap`` is the decision, without any input or output):

- everybody's counted writes since the backup are exactly the migration's own, and the table still has its
  file (a TRUNCATE is not counted, but gives a table another one);
- its file is another one, but nobody wrote, and it still has as many rows: a rewrite, not a TRUNCATE;
- its content equals the backup's, so that restoring it loses nothing.

Counters of PostgreSQL count rolled-back writes too, and reach the statistics when a session ends at the
latest: the proof errs towards "written", and is complete only under the fence, when all have ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from psycopg2 import sql

from lockkeeper.backup.counters import LARGE_OBJECTS, Counters, WriteCounters, read_counters
from lockkeeper.config import Target
from lockkeeper.models import BackupManifest
from lockkeeper.postgres.connection import Connection, connect, fetch_one, fetch_value
from lockkeeper.postgres.fingerprint.data import list_tables, read_large_objects
from lockkeeper.postgres.fingerprint.hashing import digest, digest_query
from lockkeeper.postgres.fingerprint.session import pinned_settings

NONE: Counters = (0, 0, 0)


class TableEvidence(NamedTuple):
    """What is known of one table.

    Attributes:
        table: its present name, or that in the backup when it is gone.
        in_backup: whether the backup has it.
        exists: whether it is (still) there.
        counted: rows inserted, updated, deleted since the backup by anybody; None when not known.
        own: the same by the migration itself.
        same_file: whether it still has the file that it had.
        rows_before: rows in the backup, None when not known.
        rows: rows now, None when not counted.
        content_equal: whether its content is that of the backup, None when not compared.
    """

    table: str
    in_backup: bool = True
    exists: bool = True
    counted: Counters | None = None
    own: Counters = NONE
    same_file: bool = True
    rows_before: int | None = None
    rows: int | None = None
    content_equal: bool | None = None


def gap(evidence: TableEvidence) -> str | None:
    """Return None when no write to the table can be lost, else a readable finding."""
    own_only = evidence.counted is not None and evidence.counted == evidence.own
    if not evidence.exists:
        return f"table {evidence.table} was dropped: writes to it before that cannot be ruled out"
    if evidence.content_equal or (own_only and (evidence.same_file or not evidence.in_backup)):
        return None
    if not evidence.in_backup:
        if evidence.rows == 0:
            return None
        return f"table {evidence.table} is new since the backup and {_who_wrote(evidence)}"
    kept_rows = evidence.rows is not None and evidence.rows == evidence.rows_before
    if own_only and evidence.own == NONE and kept_rows:
        return None
    if own_only:
        return (
            f"table {evidence.table} was truncated or rewritten since the backup and its content is not "
            "that of the backup"
        )
    return f"table {evidence.table}: {_who_wrote(evidence)}"


def _others_wrote(evidence: TableEvidence) -> bool:
    return evidence.counted is not None and any(
        counted > own for counted, own in zip(evidence.counted, evidence.own, strict=True)
    )


def _who_wrote(evidence: TableEvidence) -> str:
    if evidence.counted is None:
        return "its content is not the backup's, and the server's counters cannot tell who wrote it"
    others = [counted - own for counted, own in zip(evidence.counted, evidence.own, strict=True)]
    named = zip(others, ("inserted", "updated", "deleted"), strict=True)
    shown = ", ".join(f"{number} {verb}" for number, verb in named if number)
    return f"has rows written since the backup that are not known to be the migration's own ({shown})"


class FencedScene(NamedTuple):
    """A database that nobody can write to any more, seen through the one session that may stay in it.

    ``connection`` was opened before the fence, is autocommit and may only read.
    """

    connection: Connection


def written_since(
    scene: FencedScene,
    manifest: BackupManifest,
    own_writes: Mapping[str, Counters] | None = None,
    *,
    only: Collection[str] | None = None,
    fenced: bool = False,
) -> list[str]:
    """Return findings about writes since the backup that a restore would lose; empty means: proven none.

    Reads only; what the counters already prove costs no scan.

    Args:
        scene: the database under the fence, as ``restore_backup`` hands it to ``before_swap``.
        manifest: the backup that would be restored; it must be one of this very database.
        own_writes: table (qualified, quoted) -> rows that the migration inserted, updated, deleted; never
            more than it wrote. What is missing here counts as somebody else's.
        only: look at these tables alone; None looks at all.
        fenced: applications could only read since the backup: only what was written past the fence is a
            finding, and what nobody can tell is not.
    """
    session = scene.connection
    now = read_counters(session)
    compared = compare_counters(manifest, now, own_writes or {})
    wanted = [item for item in compared if only is None or item.table in only]
    if fenced:
        known = [] if own_writes is None else wanted
        return [f"table {item.table}: {_who_wrote(item)}" for item in known if _others_wrote(item)]
    evidence = [_enriched(session, manifest, item) for item in wanted]
    return [finding for item in evidence if (finding := gap(item))]


@contextlib.contextmanager
def unfenced_scene(target: Target, run_id: str | None = None) -> Iterator[FencedScene]:
    """Yield the database as it is, for a forecast: others go on writing, and may hold counts back."""
    with connect(target.url, "proof", run_id=run_id) as connection:
        yield FencedScene(connection)


def compare_counters(
    manifest: BackupManifest, now: WriteCounters, own_writes: Mapping[str, Counters]
) -> list[TableEvidence]:
    """Match tables of the backup with those of now by their OID, so that a rename is followed."""
    before = manifest.write_counters or {}
    comparable = manifest.counters_epoch is not None and manifest.counters_epoch == now.epoch
    present = {_oid(identity): table for table, identity in now.identities.items()}
    fingerprints = manifest.data_fingerprint.tables if manifest.data_fingerprint else {}
    found, matched = [], set()
    for old_name, identity in (manifest.table_identities or {}).items():
        same_table = _oid(identity) in present
        name = present.get(_oid(identity), old_name)
        counted = None
        if same_table and comparable and old_name in before and now.counters is not None:
            counted = _minus(now.counters[name], before[old_name])
        matched.add(name)
        found.append(
            TableEvidence(
                table=name,
                exists=name in now.identities,
                counted=counted,
                own=own_writes.get(name, own_writes.get(old_name, NONE)),
                same_file=now.identities.get(name) == identity,
                rows_before=fingerprints[old_name].rows if old_name in fingerprints else None,
            )
        )
    for name in sorted(now.identities.keys() - matched):
        counted = now.counters[name] if now.counters is not None and comparable else None
        own = own_writes.get(name, NONE)
        found.append(TableEvidence(name, in_backup=False, counted=counted, own=own, same_file=False))
    return found


def _oid(identity: str) -> str:
    return identity.partition("/")[0]


def _minus(now: Counters, before: Counters) -> Counters:
    return (now[0] - before[0], now[1] - before[1], now[2] - before[2])


def _enriched(session: Connection, manifest: BackupManifest, evidence: TableEvidence) -> TableEvidence:
    """Add what costs a scan, only where it decides."""
    if gap(evidence) is None or not evidence.exists:
        return evidence
    if evidence.table == LARGE_OBJECTS:
        return evidence._replace(content_equal=_same_large_objects(session, manifest))
    if not evidence.in_backup:
        return evidence._replace(rows=_count(session, evidence.table, limit=1))
    if evidence.counted == evidence.own == NONE:
        evidence = evidence._replace(rows=_count(session, evidence.table))
    if gap(evidence) is None:
        return evidence
    return evidence._replace(content_equal=_same_content(session, manifest, evidence.table))


def _count(session: Connection, table: str, limit: int | None = None) -> int:
    query = sql.SQL("SELECT count(*) FROM (SELECT FROM ONLY {} LIMIT {}) AS counted")
    return int(fetch_value(session, query.format(sql.SQL(table), sql.Literal(limit))))


def _same_content(session: Connection, manifest: BackupManifest, table: str) -> bool:
    """Whether the table's present content is that of the backup, also when it was renamed since."""
    identities = manifest.table_identities or {}
    fingerprints = manifest.data_fingerprint.tables if manifest.data_fingerprint else {}
    with pinned_settings(session):
        oid = str(fetch_value(session, "SELECT %s::pg_catalog.regclass::pg_catalog.oid::bigint", (table,)))
        old_name = next((name for name, identity in identities.items() if _oid(identity) == oid), table)
        known = [item for item in list_tables(session) if item.name == table]
        if not known or old_name not in fingerprints:
            return False
        query = digest_query(known[0].columns, known[0].source, per_column=False)
        rows, total = fetch_one(session, query)
    before = fingerprints[old_name]
    return (int(rows), digest(int(total or 0))) == (before.rows, before.digest)


def _same_large_objects(session: Connection, manifest: BackupManifest) -> bool:
    before = manifest.data_fingerprint.large_objects if manifest.data_fingerprint else None
    with pinned_settings(session):
        return before is not None and read_large_objects(session) == before
