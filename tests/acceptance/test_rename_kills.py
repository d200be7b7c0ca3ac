"""kill -9 of the worker, of Prefect's server and of PostgreSQL in every stage of a rename under load.

One journey for each victim: seven stages, killed once in each, taken up again by a worker (and a run of the
deployment, where the former one is lost), until the old column is in quarantine. Then the application's own
journals say what was lost. Takes minutes: `make load` runs it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy.engine import URL

from lockkeeper.errors import ConnectionLostError
from lockkeeper.local import daemons
from lockkeeper.local.postgres_server import EmbeddedPostgres, temporary_postgres
from lockkeeper.local.prefect_server import EmbeddedPrefect
from lockkeeper.postgres.connection import connect, fetch_all
from lockkeeper.prefect_api import PrefectApiError
from tests.acceptance.app.processes import REPOSITORY, Application, application, fill_shop
from tests.acceptance.operator_at_prefect import deploy_rename, deployment_of
from tests.acceptance.test_browser import SAVE, prefect, python
from tests.killing import kill_tree

__all__ = ["prefect"]
pytestmark = [pytest.mark.load, pytest.mark.timeout(1500)]

ROWS = 2_000
STAGE_LIMIT_S = 240
POLICY = {
    "throttle": {"batch_rows": 100, "pause_ms": 200},
    "ramp": {"percents": [50, 100], "observe_s": 6, "sample_interval_s": 0.2},
    "scream_s": 4,
    "approval_timeout_s": 3600,
}
PARAMETERS = {
    "target": "killed",
    "table": "products",
    "old_column": "description",
    "new_column": "description_new",
}
OVER = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
STAGES = ("expand", "backfill", "validate", "flip", "observe", "scream", "contract")


def kill(identity: daemons.ProcessIdentity | None) -> None:
    assert identity is not None
    kill_tree(identity.pid)
    daemons.end_process(identity)


class Journey:
    """A rename on its way, whoever dies."""

    def __init__(self, prefect: EmbeddedPrefect, server: EmbeddedPostgres, app: Application) -> None:
        self.prefect, self.server, self.app = prefect, server, app
        self.run: str | None = None
        self.in_the_way: Any = None
        self.stalls_everybody = False
        self.swapped = False
        self.stage = ""

    # -- what is seen -----------------------------------------------------------------------------------

    def ledger(self) -> tuple[str, int]:
        """The stage, and the percentage of the flag."""
        try:
            with connect(self.app.url, "tests") as connection:
                exists = "SELECT to_regclass('lockkeeper.column_change') IS NOT NULL"
                if not fetch_all(connection, exists)[0][0]:
                    return "", 0
                stages = fetch_all(connection, "SELECT stage FROM lockkeeper.column_change")
                flags = fetch_all(connection, "SELECT percent FROM lockkeeper.feature_flag")
        except ConnectionLostError:
            return "", 0
        return (stages[0][0] if stages else "", flags[0][0] if flags else 0)

    def is_in(self, stage: str) -> bool:
        """Whether the rename is in a stage now, held there where it would last milliseconds only."""
        here, percent = self.ledger()
        if stage == "expand":
            return here == "planned"
        if stage == "backfill":
            return here == "backfilling"
        if stage == "validate":
            if here == "backfilling":
                self.stand_in_the_way("ACCESS SHARE")
            return here == "backfilled"
        if stage == "flip":
            if here == "flipped" and 0 < percent < 100:
                self.stand_in_the_way(before_flip=True)
            return here == "flipped" and 0 < percent < 100
        if stage == "observe":
            if here == "flipped" and percent == 100:
                self.stand_in_the_way("ACCESS EXCLUSIVE")
            return here == "flipped" and percent == 100 and self.somebody_waits()
        if stage == "contract" and here == "screamed":
            self.stand_in_the_way("ACCESS SHARE")
        return here == {"scream": "screaming", "contract": "screamed"}[stage]

    def somebody_waits(self) -> bool:
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND application_name LIKE 'lockkeeper:rename%'"
        )
        with connect(self.app.url, "tests") as connection:
            return bool(fetch_all(connection, waiting))

    # -- what is done -----------------------------------------------------------------------------------

    def stand_in_the_way(self, mode: str = "", *, before_flip: bool = False) -> None:
        """Hold the stage up: by a lock on the table, or the flag where it is; everybody may still read it."""
        if self.in_the_way is None:
            self.in_the_way = psycopg2.connect(self.app.url.render_as_string(hide_password=False))
            flag = "SELECT 1 FROM lockkeeper.feature_flag FOR UPDATE"
            self.in_the_way.cursor().execute(flag if before_flip else f"LOCK TABLE products IN {mode} MODE")
            self.stalls_everybody = mode == "ACCESS EXCLUSIVE"

    def go_away(self) -> None:
        if self.in_the_way is not None:
            self.in_the_way.close()
            self.in_the_way = None

    def push(self) -> None:
        """Do what an operator does: start a run where none goes on, approve what asks."""
        if not daemons.is_running(self.prefect.worker):
            self.prefect.start_worker(REPOSITORY)
        state = self.request("GET", f"/flow_runs/{self.run}")["state"] if self.run else {"type": "COMPLETED"}
        if state["type"] in OVER:
            made = f"/deployments/{deployment_of(self.prefect)}/create_flow_run"
            self.run = self.request("POST", made, {"parameters": {**PARAMETERS, "policy": POLICY}})["id"]
        elif state["name"] == "Suspended":
            if state["state_details"]["pause_key"].startswith("approve-drop"):
                self.deploy_the_newest()
            form = {"decision": "approve", "approver": "ada", "reason": "as planned"}
            self.request("POST", f"/flow_runs/{self.run}/resume", {"run_input": form})

    def deploy_the_newest(self) -> None:
        """End the versions that name the old column, as a team must before it approves the drop."""
        if not self.swapped:
            before = tuple(self.app.running)
            self.app.start("newest")
            self.app.start("raw-new")
            self.app.stop(*before)
            self.swapped = True

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Ask the API; a busy SQLite refuses now and then."""
        for _ in range(20):
            with contextlib.suppress(PrefectApiError):
                return self.prefect.request(method, path, body)
            threading.Event().wait(0.5)
        return self.prefect.request(method, path, body)

    def come_to(self, stage: str) -> None:
        self.stage = stage
        deadline = time.monotonic() + STAGE_LIMIT_S
        # Whoever asks a busy server meanwhile would miss the moment between scream test and contract.
        pushed = time.monotonic() + (10 if stage == "contract" else -1)
        pause = threading.Event()
        while not self.is_in(stage):
            assert time.monotonic() < deadline, f"{stage}: {self.ledger()}, {self.log()}"
            if time.monotonic() - pushed > 1:
                self.push()
                pushed = time.monotonic()
            pause.wait(0.01)

    def finish(self) -> None:
        deadline, pause = time.monotonic() + STAGE_LIMIT_S, threading.Event()
        while self.ledger()[0] != "contracted":
            assert time.monotonic() < deadline, f"{self.ledger()}, {self.log()}"
            self.push()
            pause.wait(1)

    def close(self) -> None:
        """Leave nobody in the way, and no worker."""
        self.go_away()
        if daemons.is_running(self.prefect.worker):
            kill(self.prefect.worker)

    def log(self) -> str:
        return self.prefect.worker_log.read_text()[-4000:]

    # -- who dies ---------------------------------------------------------------------------------------

    def kill_worker(self) -> None:
        """The worker with the process of its run, which Prefect would call Running for ever."""
        kill(self.prefect.worker)
        self.go_away()
        crashed = {"state": {"type": "CRASHED", "name": "Crashed"}, "force": True}
        self.request("POST", f"/flow_runs/{self.run}/set_state", crashed)

    def kill_prefect(self) -> None:
        """The server; the run's process goes on without it, and may or may not outlast its absence."""
        kill(self.prefect.server)
        if self.stalls_everybody:
            self.go_away()
        self.stand_in_the_way("ACCESS SHARE")  # else it would be stages further when the server is back
        self.prefect.start_server()
        self.prefect.wait_until_ready()
        if self.stage != "backfill":  # the stage after it is held up by the same lock
            self.go_away()

    def kill_postgres(self) -> None:
        """Every process of the target's server at once; the run's tasks try again."""
        kill(self.server.process)
        self.go_away()
        self.server.start()


VICTIMS: dict[str, Callable[[Journey], None]] = {
    "worker": Journey.kill_worker,
    "prefect": Journey.kill_prefect,
    "postgres": Journey.kill_postgres,
}


@pytest.fixture
def mortal(server_folder: Path, tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A durable server of the test's own."""
    folder = server_folder / tmp_path.name
    folder.mkdir()
    folder.chmod(0o755)
    settings = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
    with temporary_postgres(folder, settings=settings) as server:
        yield server


def differing(url: URL) -> int:
    hidden = "SELECT count(*) FROM products WHERE description_lockkeeper_old IS DISTINCT FROM description_new"
    with connect(url, "tests") as connection:
        return int(fetch_all(connection, hidden)[0][0])


@pytest.mark.parametrize("victim", [*VICTIMS])
def test_killed_in_each_stage_a_rename_goes_on_and_no_write_is_lost(
    prefect: EmbeddedPrefect, mortal: EmbeddedPostgres, tmp_path: Path, victim: str
) -> None:
    url = mortal.url()
    fill_shop(url, ROWS)
    storage = str(tmp_path / "storage")
    login = url.render_as_string(hide_password=False)
    saved = python(prefect, SAVE, name="killed", database_url=login, storage_folder=storage)
    assert saved.returncode == 0, saved.stderr
    prefect.create_pool()
    deploy_rename(prefect, POLICY)
    journals = tmp_path / "journals"
    journals.mkdir()
    with (
        application(url, journals, ROWS) as app,
        contextlib.closing(Journey(prefect, mortal, app)) as journey,
    ):
        app.start("old")
        app.start("raw")
        journey.stand_in_the_way("ACCESS SHARE")
        for stage in STAGES:
            journey.come_to(stage)
            VICTIMS[victim](journey)
            app.work(5)
        journey.finish()
        app.work()
        app.stop()
        story = app.story()
        assert story.wrong_reads == []
        assert app.problems() == []
        assert differing(url) == 0
        if victim != "postgres":  # whose death every statement notices
            assert story.failed == []
