"""Measures of sessions: what they do, and who waits for whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lockkeeper.monitoring.readings import Look, Session, Wait
from lockkeeper.monitoring.rules.model import Measurement

SHOWN = 3
OWN_PREFIX = "lockkeeper:"


def _strangers(look: Look) -> list[Session]:
    """Return the sessions that are not Lockkeeper's: a backup reads for hours, and says so itself."""
    return [session for session in look.activity.sessions if not session.application.startswith(OWN_PREFIX)]


def _worst(found: Iterable[tuple[float, Session]], verb: str) -> Iterator[Measurement]:
    ranked = sorted(found, key=lambda pair: -pair[0])
    if not ranked:
        return
    shown = "; ".join(f"{session}, {verb} {seconds:.0f} s" for seconds, session in ranked[:SHOWN])
    more = f"; and {len(ranked) - SHOWN} more" if len(ranked) > SHOWN else ""
    yield Measurement(ranked[0][0], shown + more)


def long_query(look: Look) -> Iterator[Measurement]:
    """The longest query that runs now, in seconds."""
    yield from _worst(
        ((one.query_s, one) for one in _strangers(look) if one.state == "active"), "running for"
    )


def long_transaction(look: Look) -> Iterator[Measurement]:
    """The oldest transaction, in seconds."""
    yield from _worst(((one.transaction_s, one) for one in _strangers(look)), "in its transaction for")


def idle_in_transaction(look: Look) -> Iterator[Measurement]:
    """The longest time that a session has done nothing inside a transaction, in seconds."""
    idle = ((one.state_s, one) for one in _strangers(look) if one.is_idle_in_transaction)
    yield from _worst(idle, "idle for")


def old_snapshot(look: Look) -> Iterator[Measurement]:
    """The age of the oldest snapshot in transactions: no dead row younger than it can be vacuumed."""
    oldest = max(look.activity.sessions, key=lambda session: session.snapshot_age, default=None)
    if oldest is not None:
        text = f"{oldest} holds back VACUUM by {oldest.snapshot_age} transactions"
        yield Measurement(oldest.snapshot_age, text)


def ungranted_lock(look: Look) -> Iterator[Measurement]:
    """The longest wait for a lock, in seconds."""
    waits = look.activity.waits
    if waits:
        longest = max(waits, key=lambda wait: wait.waiting_s)
        yield Measurement(longest.waiting_s, describe_wait(longest))


def describe_wait(wait: Wait) -> str:
    """Say who waits for what, since when, and whose fault it is."""
    waiter = f"session {wait.waiter_pid} ({wait.waiter_application or wait.waiter_type})"
    doing = f", with {wait.waiter_statement}" if wait.waiter_statement else ""
    holding = f", its last statement {wait.blocker_statement}" if wait.blocker_statement else ""
    return (
        f"{waiter} has waited {wait.waiting_s:.1f} s for {wait.wants or 'a lock'}{doing}; "
        f"in its way: {wait.blocker}{holding}"
    )


def blocked_sessions(look: Look) -> Iterator[Measurement]:
    """How many sessions wait, with the root of each tree named."""
    activity = look.activity
    waiting = {wait.waiter_pid for wait in activity.waits}
    if not waiting:
        return
    trees = []
    for pid, wait in activity.roots().items():
        below = activity.blocked_by([pid])
        depth = "directly" if len({one.blocker_pid for one in below.values()}) == 1 else "in a chain"
        trees.append((len(below), f"{wait.blocker} blocks {len(below)} {depth} ({wait.wants or 'a lock'})"))
    trees.sort(reverse=True)
    text = "; ".join(text for _, text in trees[:SHOWN]) or "they wait for one another"
    yield Measurement(len(waiting), f"{len(waiting)} sessions wait for locks: {text}")


def connections(look: Look) -> Iterator[Measurement]:
    """Connections used, in percent of those that ordinary roles may use."""
    activity = look.activity
    share = 100.0 * activity.connections / max(1, activity.max_connections)
    text = f"{activity.connections} of {activity.max_connections} connections are used"
    yield Measurement(share, text)


def hidden_sessions(look: Look) -> Iterator[Measurement]:
    """Sessions whose statements this role may not see: then nothing said of sessions is reliable."""
    hidden = look.activity.hidden
    text = f"{hidden} sessions cannot be seen by this role. Run: GRANT pg_monitor TO <the target's user>"
    yield Measurement(hidden, text)


def migration_waits(look: Look) -> Iterator[Measurement]:
    """How long our own migration has waited for a lock, in seconds, and for whom."""
    waits = [wait for wait in look.activity.waits if wait.waiter_pid in look.own_pids]
    if waits:
        longest = max(waits, key=lambda wait: wait.waiting_s)
        text = f"The migration waits for {longest.wants or 'a lock'}: {longest.blocker}"
        yield Measurement(longest.waiting_s, text)
