"""Is the database what it was before a failed migration, even though an application may go on writing?

A table whose content equals the backup's is proven. One that differs is judged by who can have written to
it: the cumulative row counters of PostgreSQL (15 and later keep them in shared memory, so none is lost)
less what the revisions themselves reported are the application's writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy.engine import URL

from lockkeeper.backup.counters import read_counters
from lockkeeper.models import BackupManifest, RevisionTiming
from lockkeeper.postgres.connection import connect
from lockkeeper.postgres.fingerprint import data_fingerprint
from lockkeeper.postgres.layout import read_layout
from lockkeeper.postgres.own_objects import without_own_tables

Counters = tuple[int, int, int]


@dataclass(frozen=True)
class TableFacts:
    """What is known of one table whose content is not that of the backup.

    Attributes:
        table: its qualified name.
        counted: rows inserted, updated and deleted since the backup by anybody; None where not known.
        own: the same by the migration itself; None where not known.
        same_layout: neither the table nor one of its columns was re-created or rewritten.
    """

    table: str
    counted: Counters | None
    own: Counters | None
    same_layout: bool


def own_writes(applied: Sequence[RevisionTiming], complete: bool) -> dict[str, Counters] | None:
    """Add up what the revisions wrote; None when one of them cannot tell, or another may have run."""
    if not complete or any(timing.own_writes is None for timing in applied):
        return None
    total: dict[str, Counters] = {}
    for timing in applied:
        for table, (inserted, updated, deleted) in (timing.own_writes or {}).items():
            known = total.get(table, (0, 0, 0))
            total[table] = (known[0] + inserted, known[1] + updated, known[2] + deleted)
    return total


def counted_since(
    before: Mapping[str, Counters] | None, now: Mapping[str, Counters] | None, table: str
) -> Counters | None:
    """Return the rows counted since ``before``; None when the counters cannot be compared."""
    if before is None or now is None or table not in now or table not in before:
        return None
    old, new = before[table], now[table]
    return (new[0] - old[0], new[1] - old[1], new[2] - old[2])


def judge_table(facts: TableFacts) -> str | None:
    """Return None when the difference is the application's alone, else what is wrong or unknown."""
    if facts.own == (0, 0, 0) and facts.same_layout:
        # The migration wrote no row here and re-created nothing: whatever changed, it was not by it.
        return None
    if facts.counted is not None and facts.counted == facts.own:
        # Sessions may hold counts back still: that nobody else wrote is no proof, and decides nothing here.
        return (
            f"table {facts.table}: as far as the server's counters tell yet, the migration changed it "
            "and the downgrade did not bring it back"
        )
    return (
        f"table {facts.table}: its content is not that of before, and it cannot be told whether "
        "the migration or the application changed it"
    )


class Judged(NamedTuple):
    """How the tables of a database compare with a backup of it."""

    equal: int
    written: int
    findings: tuple[str, ...]


def judge_tables(
    url: URL, backup: BackupManifest, applied: Sequence[RevisionTiming], complete: bool, *, run_id: str
) -> Judged:
    """Compare every table's content with the backup's, but for Lockkeeper's; reads all, under ACCESS SHARE.

    Args:
        url: the database that may have been changed.
        backup: the manifest of its backup.
        applied: the revisions that ran since, in either direction.
        complete: nothing else of the migration can have been committed.
        run_id: names the connections.
    """
    before = without_own_tables(backup.data_fingerprint).tables if backup.data_fingerprint else {}
    now = without_own_tables(data_fingerprint(url, run_id=run_id, columns=False)).tables
    with connect(url, "verify", run_id=run_id) as connection:
        counters, layout = read_counters(connection), read_layout(connection)
    same_epoch = backup.counters_epoch is not None and counters.epoch == backup.counters_epoch
    own = own_writes(applied, complete)
    findings, equal, written = [], 0, 0
    for table in sorted(before.keys() | now.keys()):
        if table in before and table in now and before[table].digest == now[table].digest:
            equal += 1
            continue
        facts = TableFacts(
            table,
            counted_since(backup.write_counters, counters.counters if same_epoch else None, table),
            None if own is None else own.get(table, (0, 0, 0)),
            table in layout and layout.get(table) == backup.layout.get(table),
        )
        finding = judge_table(facts)
        findings += [finding] if finding else []
        written += not finding
    return Judged(equal, written, tuple(findings))
