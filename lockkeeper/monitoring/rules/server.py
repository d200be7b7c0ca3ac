"""Measures of the database and its server: sizes, debts, replication, and what runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lockkeeper.monitoring.readings import DatabaseVitals, Look, Vitals
from lockkeeper.monitoring.rules.model import Measurement
from lockkeeper.reports import format_size

HOUR_S = 3600.0
SMALLEST_READS = 10_000
"""Fewer blocks than this, or transactions, say nothing about a ratio."""
SMALLEST_TRANSACTIONS = 1_000


def _pair(look: Look) -> tuple[DatabaseVitals, DatabaseVitals] | None:
    """Return the database's vitals now and before, unless its counters started again in between."""
    now, before = look.vitals, look.before
    if now is None or before is None or now.database is None or before.database is None:
        return None
    if look.elapsed_s <= 0 or now.database.commits < before.database.commits:
        return None
    return now.database, before.database


def _increase(look: Look, value: Callable[[DatabaseVitals], int], text: str) -> Iterator[Measurement]:
    pair = _pair(look)
    if pair is not None:
        grown = value(pair[0]) - value(pair[1])
        yield Measurement(grown, text.format(grown, look.elapsed_s))


def database_growth(look: Look) -> Iterator[Measurement]:
    """Growth of the database, in bytes an hour."""
    pair = _pair(look)
    if pair is None:
        return
    now, before = pair[0].size_bytes, pair[1].size_bytes
    if now is not None and before is not None:
        rate = (now - before) * HOUR_S / look.elapsed_s
        text = f"the database grew by {format_size(now - before)} in {look.elapsed_s:.0f} s"
        yield Measurement(rate, f"{text}, to {format_size(now)}")


def database_size(look: Look) -> Iterator[Measurement]:
    """Size of the database in bytes."""
    size = look.vitals.database.size_bytes if look.vitals and look.vitals.database else None
    if size is not None:
        yield Measurement(size, f"the database has {format_size(size)}")


def table_growth(look: Look) -> Iterator[Measurement]:
    """Growth of each table with its indexes, in bytes an hour."""
    if look.vitals is None or look.before is None or look.elapsed_s <= 0:
        return
    before = {table.name: table for table in look.before.tables}
    for table in look.vitals.tables:
        was = before.get(table.name)
        if was is not None and table.total_bytes is not None and was.total_bytes is not None:
            grown = table.total_bytes - was.total_bytes
            text = f"{table.name} grew by {format_size(grown)} in {look.elapsed_s:.0f} s"
            yield Measurement(grown * HOUR_S / look.elapsed_s, text, table.name)


def dead_rows(look: Look) -> Iterator[Measurement]:
    """Dead rows of each table as a multiple of those at which autovacuum should begin."""
    for table in look.vitals.tables if look.vitals else ():
        ratio = table.dead_rows / max(1, table.vacuum_at)
        text = f"{table.name} has {table.dead_rows} dead rows, autovacuum begins at {table.vacuum_at}"
        yield Measurement(ratio, text, table.name)


def analyze_debt(look: Look) -> Iterator[Measurement]:
    """Rows changed since the last ANALYZE, as a multiple of those at which autovacuum should begin."""
    for table in look.vitals.tables if look.vitals else ():
        ratio = table.changed_rows / max(1, table.analyze_at)
        text = f"{table.changed_rows} rows of {table.name} changed since its last ANALYZE"
        yield Measurement(ratio, text, table.name)


def autovacuum_off(look: Look) -> Iterator[Measurement]:
    """1 where autovacuum is off, for the server or for one table."""
    if look.vitals is None:
        return
    if look.vitals.database is not None and not look.vitals.database.autovacuum:
        yield Measurement(1, "autovacuum or track_counts is off for the whole server", "server")
    for table in look.vitals.tables:
        if not table.autovacuum:
            yield Measurement(1, f"autovacuum is off for {table.name}", table.name)


def wraparound(look: Look) -> Iterator[Measurement]:
    """Age of the oldest transaction id, as a multiple of autovacuum_freeze_max_age."""
    database = look.vitals.database if look.vitals else None
    if database is not None:
        ratio = database.xid_age / max(1, database.freeze_max_age)
        text = f"the oldest transaction id is {database.xid_age} old; at 2,100,000,000 the server stops"
        yield Measurement(ratio, text)


def multixact_wraparound(look: Look) -> Iterator[Measurement]:
    """Age of the oldest multixact id, as a multiple of autovacuum_multixact_freeze_max_age."""
    database = look.vitals.database if look.vitals else None
    if database is not None:
        ratio = database.mxid_age / max(1, database.mxid_freeze_max_age)
        yield Measurement(ratio, f"the oldest multixact id is {database.mxid_age} old")


def deadlocks(look: Look) -> Iterator[Measurement]:
    """Deadlocks since the last look."""
    yield from _increase(look, lambda d: d.deadlocks, "{} deadlocks in {:.0f} s")


def temporary_files(look: Look) -> Iterator[Measurement]:
    """Bytes written to temporary files since the last look."""
    yield from _increase(
        look, lambda d: d.temp_bytes, "queries wrote {} bytes to temporary files in {:.0f} s"
    )


def archive_failures(look: Look) -> Iterator[Measurement]:
    """WAL files that could not be archived since the last look."""
    yield from _increase(look, lambda d: d.archive_failures, "archiving WAL failed {} times in {:.0f} s")


def cache_misses(look: Look) -> Iterator[Measurement]:
    """Blocks read from outside the cache since the last look, in percent."""
    pair = _pair(look)
    if pair is None:
        return
    read = pair[0].blocks_read - pair[1].blocks_read
    total = read + pair[0].blocks_hit - pair[1].blocks_hit
    if total >= SMALLEST_READS:
        share = 100.0 * read / total
        yield Measurement(share, f"{share:.0f} % of {total} blocks were not in the cache")


def rollbacks(look: Look) -> Iterator[Measurement]:
    """Transactions that were rolled back since the last look, in percent."""
    pair = _pair(look)
    if pair is None:
        return
    undone = pair[0].rollbacks - pair[1].rollbacks
    total = undone + pair[0].commits - pair[1].commits
    if total >= SMALLEST_TRANSACTIONS:
        share = 100.0 * undone / total
        yield Measurement(share, f"{share:.0f} % of {total} transactions were rolled back")


def prepared_transaction(look: Look) -> Iterator[Measurement]:
    """Age of the oldest prepared transaction, in seconds: it holds its locks until somebody ends it."""
    database = look.vitals.database if look.vitals else None
    if database is not None:
        age_s = database.oldest_prepared_s
        yield Measurement(age_s, f"a prepared transaction has waited {age_s:.0f} s for its second phase")


def invalid_index(look: Look) -> Iterator[Measurement]:
    """1 for each index that is invalid and not being built: it costs every write and serves no query."""
    database = look.vitals.database if look.vitals else None
    for name in database.invalid_indexes if database else ():
        yield Measurement(1, f"index {name} is invalid, and nobody is building it", name)


def replication_lag(look: Look) -> Iterator[Measurement]:
    """Bytes that each replica is behind."""
    for replica in look.vitals.replicas if look.vitals else ():
        if replica.lag_bytes is not None:
            text = f"{replica.name} ({replica.state}) is {format_size(replica.lag_bytes)} behind"
            yield Measurement(replica.lag_bytes, f"{text}, {replica.lag_s:.0f} s", replica.name)


def slot_retention(look: Look) -> Iterator[Measurement]:
    """WAL that each slot keeps, in bytes."""
    for slot in look.vitals.slots if look.vitals else ():
        use = "in use" if slot.active else "not in use"
        text = f"slot {slot.name} ({use}) keeps {format_size(slot.retained_bytes)} of WAL"
        yield Measurement(slot.retained_bytes, text, slot.name)


def slot_inactive(look: Look) -> Iterator[Measurement]:
    """1 for each slot that nobody reads from; WAL is kept for it without end."""
    for slot in look.vitals.slots if look.vitals else ():
        if not slot.active:
            yield Measurement(1, f"nobody reads from slot {slot.name}", slot.name)


def slot_lost(look: Look) -> Iterator[Measurement]:
    """1 for each slot whose WAL is gone or about to go (wal_status lost or unreserved)."""
    for slot in look.vitals.slots if look.vitals else ():
        if slot.wal_status in ("lost", "unreserved"):
            yield Measurement(1, f"the WAL of slot {slot.name} is {slot.wal_status}", slot.name)


def wal_rate(look: Look) -> Iterator[Measurement]:
    """WAL written, in bytes a second."""
    written = _wal_written(look.vitals, look.before)
    if written is not None and look.elapsed_s > 0:
        text = f"{format_size(written)} of WAL in {look.elapsed_s:.0f} s"
        yield Measurement(written / look.elapsed_s, text)


def _wal_written(now: Vitals | None, before: Vitals | None) -> int | None:
    if now is None or before is None or now.wal_bytes is None or before.wal_bytes is None:
        return None
    return now.wal_bytes - before.wal_bytes


def requested_checkpoints(look: Look) -> Iterator[Measurement]:
    """Checkpoints since the last look that came because max_wal_size was reached, or on request."""
    if look.vitals is not None and look.before is not None:
        count = look.vitals.checkpoints_requested - look.before.checkpoints_requested
        yield Measurement(count, f"{count} checkpoints before their time in {look.elapsed_s:.0f} s")


def sequence_use(look: Look) -> Iterator[Measurement]:
    """How much of each sequence's numbers is used, in percent."""
    for name, used in look.vitals.sequences if look.vitals else ():
        yield Measurement(100.0 * used, f"sequence {name} has given {100 * used:.0f} % of its numbers", name)


def lock_table(look: Look) -> Iterator[Measurement]:
    """How full the server's table of locks is, in percent."""
    if look.vitals is not None and look.vitals.lock_slots:
        share = 100.0 * look.vitals.locks / look.vitals.lock_slots
        yield Measurement(share, f"{look.vitals.locks} locks of about {look.vitals.lock_slots} are taken")


def disk_used(look: Look) -> Iterator[Measurement]:
    """How full the disk with the data directory is, in percent, when it is on this machine."""
    if look.vitals is not None and look.vitals.disk_free_share is not None:
        share = 100.0 * (1 - look.vitals.disk_free_share)
        yield Measurement(share, f"the disk with the data is {share:.0f} % full")


def unseen(look: Look) -> Iterator[Measurement]:
    """1 for each group of readings that could not be taken."""
    for group, why in look.vitals.unseen.items() if look.vitals else ():
        yield Measurement(1, f"could not check {group}: {why}", group)
