"""What is shown of a run while it runs: one artifact that changes, the newest state last."""

from __future__ import annotations

import json
import threading
import time

import pytest
from prefect import flow

from tasks import progress
from tasks.progress import TableBoard
from tests.flows.observing import artifact_of, flow_run_id, play


def test_a_table_is_one_artifact_and_ends_with_the_last_state(prefect_server, api, monkeypatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL_S", 0.05)
    monkeypatch.setattr(progress, "END_TIMEOUT_S", 30.0)
    artifacts = []

    @flow(name="boards")
    def show() -> None:
        board = TableBoard("a-table", "A table.")
        board.put([{"what": "first", "seen": "1"}])
        deadline = time.monotonic() + 20
        while board._artifact is None and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        artifacts.append(board._artifact)
        board.put([{"what": "second", "seen": "2"}])
        board.close()
        artifacts.append(board._artifact)

    state = show(return_state=True)
    assert artifacts[0] is not None
    assert artifacts[0] == artifacts[1]
    assert json.loads(artifact_of(api, state, "a-table")) == [{"what": "second", "seen": "2"}]


def test_a_migration_shows_what_it_does_to_others(shop, api) -> None:
    shop.add_revision("r1", 'op.execute("ALTER TABLE users ADD COLUMN x int")', "pass")
    state = play(shop.name)
    assert state.is_completed(), (flow_run_id(state), state.message)
    deadline = time.monotonic() + 20
    while True:
        try:
            rows = json.loads(artifact_of(api, state, f"impact-{shop.name}"))
            break
        except StopIteration:
            if time.monotonic() > deadline:
                pytest.fail("no table was published")
            threading.Event().wait(0.2)
    assert "Sessions kept waiting by it" in [row["what"] for row in rows]
