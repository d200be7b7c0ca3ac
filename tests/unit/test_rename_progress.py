"""What is said of a backfill that goes on: how fast, why it waits, and that it rests for others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from lockkeeper.backfill.throttle import Throttle
from lockkeeper.errors import FencedError
from lockkeeper.online.session import Session
from lockkeeper.rename.ledger import Claim, Entry
from lockkeeper.renaming.story import progress_line


def line(**given: Any) -> str:
    found = {"rows_copied": 1_000, "rows_total": 4_000, "rows_per_s": 500.0, "eta_s": 6.0}
    return progress_line(
        cast(Any, SimpleNamespace(**{**found, "throttled_by": (), "share_percent": None, **given}))
    )


def test_a_backfill_that_rests_for_others_says_so_and_how_much() -> None:
    assert line(share_percent=10.0).endswith("rests: others use the server, it works 10 % of its time")
    assert line().endswith("not throttled")


def test_a_reason_to_wait_is_said_instead_of_a_rest() -> None:
    assert line(share_percent=10.0, throttled_by=("WAL at 9 MB/s, allowed 5",)).endswith(
        "waits: WAL at 9 MB/s, allowed 5"
    )


def test_it_rests_beside_others_only_and_not_when_all_of_its_time_is_asked_for() -> None:
    assert Throttle(share_percent=20).resting_share(beside=True) == 20
    assert Throttle(share_percent=20).resting_share(beside=False) is None
    assert Throttle(share_percent=100).resting_share(beside=True) is None


class Ledger:
    """A session that knows one token, and writes down what is run."""

    def __init__(self, token: int) -> None:
        self.token = token
        self.ran: list[str] = []

    def rows(self, sql: str) -> list[tuple[int]]:
        assert sql.endswith("FOR UPDATE"), "whoever takes over must wait for us, or we for it"
        return [(self.token,)]

    def run(self, sql: str) -> int:
        self.ran.append(sql)
        return 1


def claim(session: Ledger, token: int) -> Claim:
    entry = SimpleNamespace(id=7, change=SimpleNamespace(subject="items.a -> b"))
    return Claim(cast(Session, session), cast(Entry, entry), token, "ada")


def test_a_worker_that_was_taken_over_writes_nothing_more() -> None:
    ledger = Ledger(token=4)
    with pytest.raises(FencedError, match="taken over"):
        claim(ledger, 3).note(stage="'validated'")
    assert ledger.ran == []


def test_the_worker_that_holds_the_token_writes() -> None:
    ledger = Ledger(token=4)
    claim(ledger, 4).note(parity="NULL")
    assert ledger.ran == ["UPDATE lockkeeper.column_change SET parity = NULL WHERE id = 7"]
