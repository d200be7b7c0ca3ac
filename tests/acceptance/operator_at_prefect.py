"""Somebody with a browser in front of Prefect's UI: starts runs, answers their questions, looks at their end.

A page of a busy server may redraw itself under a click. So what counts is the run's state, asked of the API:
an answer that did not arrive is given again on a fresh page.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import TimeoutError as PageTimeoutError

from lockkeeper.local.prefect_server import EmbeddedPrefect
from tests.acceptance.app.processes import REPOSITORY

RENAME, MIGRATION = "zero-downtime-rename", "production-migration"
RUN_LIMIT_S = 240
ATTEMPTS = 5
ARRIVAL_LIMIT_S = 20
QUICK = {
    "ramp": {"percents": [50, 100], "observe_s": 0.5, "sample_interval_s": 0.1},
    "scream_s": 0.5,
    "approval_timeout_s": 3600,
}


def deploy_rename(prefect: EmbeddedPrefect, policy: dict[str, Any]) -> None:
    """Deploy the rename as prefect.yaml has it, with another default for its policy."""
    deploy(prefect, RENAME)
    prefect.request("PATCH", f"/deployments/{deployment_of(prefect)}", {"parameters": {"policy": policy}})


def deploy(prefect: EmbeddedPrefect, name: str) -> None:
    """Deploy as prefect.yaml has it."""
    environment = prefect.environment(os.environ)
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    argv = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "-n", name]
    subprocess.run(argv, cwd=REPOSITORY, env=environment, check=True, capture_output=True, timeout=240)


def deployment_of(prefect: EmbeddedPrefect, name: str = RENAME) -> str:
    """Return the deployment's id."""
    return str(prefect.request("GET", f"/deployments/name/{name}/{name}")["id"])


class Operator:
    """A worker runs, the rename is deployed with a quick policy, a page is open."""

    def __init__(self, prefect: EmbeddedPrefect, page: Any, pictures: Path) -> None:
        self.prefect, self.page, self.pictures = prefect, page, pictures
        pictures.mkdir(parents=True, exist_ok=True)
        page.set_viewport_size({"width": 1400, "height": 1500})
        if prefect.worker is None:
            prefect.start_worker(REPOSITORY)
            deploy_rename(prefect, QUICK)

    def start(self, target: str) -> str:
        """Fill in the deployment's form and submit it; returns the run's id."""
        known = set(self.runs())

        def fill_in() -> None:
            self.page.goto(f"{self.prefect.ui_url}/deployments/deployment/{deployment_of(self.prefect)}/run")
            fields = self.page.locator("textarea")
            fields.nth(3).wait_for()
            for number, text in enumerate((target, "products", "description", "description_new")):
                fields.nth(number).fill(text)
            self.picture(f"{target}-start")
            self.page.get_by_role("button", name="Submit").click()

        return str(self._until_it_arrives(fill_in, lambda: next(iter(set(self.runs()) - known), None)))

    def start_migration(self, target: str) -> str:
        """Deploy the migration and run it with nothing but its target; returns the run's id."""
        deploy(self.prefect, MIGRATION)
        path = f"/deployments/{deployment_of(self.prefect, MIGRATION)}/create_flow_run"
        return str(self.prefect.request("POST", path, {"parameters": {"target": target}})["id"])

    def answer(
        self,
        run: str,
        decision: str,
        title: str,
        reason: str = "as planned",
        facts: tuple[str, ...] = ("2,000 rows compared",),
    ) -> None:
        """Open the form of a suspended run, read what it says, choose, and submit."""
        self.wait_for(lambda: self.state(run) == "Suspended")

        def fill_in() -> None:
            self.page.goto(f"{self.prefect.ui_url}/runs/flow-run/{run}")
            self.page.get_by_role("button", name="Resume").click()
            form = self.page.locator(".p-modal")
            form.get_by_text(title).wait_for()
            for fact in facts:
                form.get_by_text(fact).first.wait_for()
            form.locator(".p-select button").first.focus()
            self.page.keyboard.press("Space")
            self.page.locator(".p-select-option", has_text=decision).click()
            form.locator("textarea").nth(0).fill(reason)
            form.locator("textarea").nth(1).fill("ada")
            self.picture(f"{run[:8]}-{decision}-{title.split()[1]}")
            form.get_by_role("button", name="Submit").click()

        self._until_it_arrives(fill_in, lambda: self.state(run) != "Suspended")

    def sees_end(self, run: str, name: str) -> None:
        """Wait for the run's end and see it on its page."""
        self.wait_for(lambda: self.state(run) == name)
        self.page.goto(f"{self.prefect.ui_url}/runs/flow-run/{run}")
        self.page.get_by_text(name).first.wait_for()
        self.picture(f"{run[:8]}-{name.lower()}")

    def runs(self) -> list[str]:
        found = self.prefect.request("POST", "/flow_runs/filter", {})
        return [str(run["id"]) for run in found if run["parameters"].get("table")]

    def state(self, run: str) -> str:
        return str(self.prefect.request("GET", f"/flow_runs/{run}")["state"]["name"])

    def picture(self, name: str) -> None:
        self.page.screenshot(path=self.pictures / f"{name}.png")

    def wait_for(self, condition: Callable[[], Any], limit_s: float = RUN_LIMIT_S) -> Any:
        """Return what ``condition`` returns once it is true."""
        deadline = time.monotonic() + limit_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                log = self.prefect.worker_log.read_text()
                pytest.fail(f"it did not come to that; the worker says:\n{log}")
            self.page.wait_for_timeout(500)
        return value

    def _until_it_arrives(self, act: Callable[[], None], arrived: Callable[[], Any]) -> Any:
        for _ in range(ATTEMPTS):
            try:
                act()
            except PageTimeoutError:
                self.picture("not-yet")
            deadline = time.monotonic() + ARRIVAL_LIMIT_S
            while time.monotonic() < deadline:
                if value := arrived():
                    return value
                self.page.wait_for_timeout(250)
        return self.wait_for(arrived, 0)
