"""A rename beside 300 transactions a second: what fails, what is lost, and the longest stall in each stage.

    python -m benchmarks.rename_benchmark                  # about two minutes
    python -m benchmarks.rename_benchmark --reader-s 30    # a long reader on the table at each stage's start

Old and new versions of the application and plain SQL write (tests/acceptance/app); their own journals say
what was acknowledged and how long each operation took, as the application saw it (one of the ORM's is two or
three statements, all of them counted as one). An operation belongs to the stages that it overlaps. *idle* is
the same load before anything has begun: this machine's noise. The server is durable (fsync on).
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy.engine import URL

from lockkeeper.config import LocalStorageSettings, Target
from lockkeeper.engine import Engine
from lockkeeper.local.postgres_server import temporary_postgres
from lockkeeper.models import Approval, Decision, utc_now
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.record import new_run_id
from lockkeeper.renaming import RenamePolicy, RenameStages, make_request
from tests.acceptance.app.journal import read
from tests.acceptance.app.processes import Application, application, fill_shop

DURABLE = {
    "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "shared_buffers": "256MB",
    "max_wal_size": "4GB",
}  # fmt: skip
BAR_MS = 250
POLICY = {"ramp": {"observe_s": 3, "sample_interval_s": 0.5}, "scream_s": 5, "retention_s": 0}
YES = Approval(key="yes", decision=Decision.APPROVE, reason="", approver="benchmark", decided_at=utc_now())


@dataclass(frozen=True)
class Stage:
    """One stage and when it ran, in seconds since 1970."""

    name: str
    began: float
    ended: float


@contextlib.contextmanager
def reader(url: URL, duration_s: float, sql: str = "SELECT count(*) FROM products") -> Iterator[None]:
    """Hold the table's lock of a reader for so long, or until the block ends."""
    ended, reading = threading.Event(), threading.Event()

    def read_on() -> None:
        with connect(url, "benchmark", autocommit=False) as connection:
            execute(connection, sql)
            reading.set()
            ended.wait(duration_s)

    thread = threading.Thread(target=read_on)
    if duration_s:
        thread.start()
        reading.wait(60)
    try:
        yield
    finally:
        ended.set()
        if duration_s:
            thread.join()


def rename(app: Application, stages: RenameStages, rate: float, reader_s: float) -> list[Stage]:
    """Play all stages; between them versions of the application come and go, as a team deploys them."""
    played = []

    def play(name: str, stage: Callable[[], Any]) -> None:
        with reader(app.url, reader_s if name != "idle" else 0):
            began = time.time()
            stage()
            played.append(Stage(name, began, time.time()))

    old, raw = app.start("old", rate / 2, 3), app.start("raw", rate / 2, 3)
    pause = threading.Event()
    pause.wait(5)
    play("idle", lambda: pause.wait(15))
    play("expand", stages.expand)
    new = app.start("new", rate / 3, 3)
    app.stop(raw)
    raw = app.start("raw", rate / 6, 2)
    pause.wait(3)
    play("backfill", stages.backfill)
    play("validate", stages.validate)
    play("flip", lambda: stages.flip(YES))
    play("observe", stages.observe)
    newest, raw_new = app.start("newest", rate / 2, 3), app.start("raw-new", rate / 2, 3)
    app.stop(old, raw, new)
    pause.wait(3)
    play("scream test", stages.scream)
    play("contract", lambda: stages.contract(YES))
    play("drop", lambda: stages.drop(force=True))
    app.stop(newest, raw_new)
    return played


def figures(app: Application, stages: list[Stage]) -> list[str]:
    """Return a line of Markdown for each stage."""
    lines = ["| stage | s | operations | operations/s | failed | p99 ms | longest ms |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    journal = list(read(sorted(app.folder.glob("*.jsonl"))))
    for stage in stages:
        inside = [
            line for line in journal
            if line["at"] < stage.ended and line["at"] + line["ms"] / 1000 > stage.began
        ]  # fmt: skip
        times = sorted(line["ms"] for line in inside) or [0.0]
        seconds = stage.ended - stage.began
        failed = sum("error" in line for line in inside)
        lines.append(
            f"| {stage.name} | {seconds:.1f} | {len(inside):,} | {len(inside) / max(seconds, 0.1):.0f} | "
            f"{failed} | {times[int(len(times) * 0.99)]:.0f} | {times[-1]:.0f} |"
        )
    return lines


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rate", type=float, default=330, help="operations a second that are aimed at")
    parser.add_argument("--reader-s", type=float, default=0, help="a reader of so long at each stage's start")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        Path(folder).chmod(0o755)
        server = stack.enter_context(temporary_postgres(Path(folder), settings=DURABLE))
        url = server.url()
        fill_shop(url, options.rows)
        with connect(url, "benchmark") as connection:
            execute(connection, "CREATE INDEX products_description ON products (description)")
        target = Target(
            name="shop",
            database_url=SecretStr(url.render_as_string(hide_password=False)),
            storage=LocalStorageSettings(path=Path(folder) / "storage"),
        )
        request = make_request(
            "products", "description", "description_new", policy=RenamePolicy.model_validate(POLICY)
        )
        journals = Path(folder) / "journals"
        journals.mkdir()
        app = stack.enter_context(application(url, journals, options.rows))
        stages = rename(
            app, RenameStages(Engine(target, new_run_id()), request), options.rate, options.reader_s
        )
        print("\n".join(figures(app, stages)))
        story, problems = app.story(), app.problems()
        print(f"\n{story.statements:,} operations, {story.acknowledged:,} writes acknowledged")
        print(
            f"failed {len(story.failed)}, read wrong {len(story.wrong_reads)}, lost or mixed {len(problems)}"
        )
        print("\n".join([*story.failed[:5], *story.wrong_reads[:5], *problems[:5]]))
        print(f"longest of all {story.longest_ms:.0f} ms (bar {BAR_MS}): {story.longest}")


if __name__ == "__main__":
    main()
