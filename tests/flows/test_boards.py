"""What is shown of a run while it runs: one artifact that changes, the newest state last."""

from __future__ import annotations

import json
import threading
import time

import pytest
from prefect import flow
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from lockkeeper.backup import Progress
from lockkeeper.models import RunReport, Step, StepState, utc_now
from tasks import progress
from tasks.progress import TableBoard
from tasks.runs import opened_run
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


def test_a_long_backup_moves_the_bar_and_its_text_while_it_runs(shop, api, monkeypatch) -> None:
    """What the engine says each second arrives at the artifact without any step having ended."""
    monkeypatch.setattr(progress, "INTERVAL_S", 0.05)
    monkeypatch.setattr(progress, "END_TIMEOUT_S", 30.0)
    seen: list[tuple[float, str]] = []

    @flow(name="long-backup")
    def back_up() -> None:
        with opened_run(shop.name, "backup") as run:
            tell = run.engine.say("backup")
            for done_mib in (256, 512):
                tell(Progress("dump", done_mib * 2**20, 1024 * 2**20))
                seen.append(shown(api, f"backup-progress-{shop.name}", f"{done_mib} of about 1024 MiB"))
            run.show(
                RunReport(
                    run_id=run.id,
                    operation="backup",
                    target=shop.name,
                    database="d",
                    started_at=utc_now(),
                    steps=(step("backup", "done"), step("verify-backup", "running")),
                ),
                4,
            )
            tell(Progress("restore", 512 * 2**20, 1024 * 2**20))
            seen.append(shown(api, f"backup-progress-{shop.name}", "restore"))
            tell(Progress("compare " + str(shop.url.password)))
            seen.append(shown(api, f"backup-progress-{shop.name}", "compare"))

    back_up()
    assert seen == [
        (25.0, "backup: dump: 256 of about 1024 MiB"),
        (50.0, "backup: dump: 512 of about 1024 MiB"),
        (37.5, "backup: restore: 512 of about 1024 MiB"),
        (37.5, "backup: compare ********"),
    ]


def step(name: str, state: str) -> Step:
    return Step(name=name, state=StepState(state), started_at=utc_now())


def shown(api, key: str, text: str) -> tuple[float, str]:
    """Wait until the bar says ``text``."""
    deadline = time.monotonic() + 20
    while True:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        found = [
            (float(one.data), str(one.description)) for one in api.read_artifacts(artifact_filter=wanted)
        ]
        if any(text in description for _percent, description in found):
            return found[0]
        assert time.monotonic() < deadline, found
        threading.Event().wait(0.05)


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
