"""kill -9 at every kind of point of capture, replay and swap, each followed by a resume: nothing may be lost.

    python -m benchmarks.kill_benchmark --seed 7 --major 16

A bad migration is run by the command line beside four writers that remember every acknowledged commit. At the
point the run's process, or one of its workers, kills itself or is killed with SIGKILL. Then `recover` is
played; afterwards every acknowledged write must be there, no other, and nothing of the capture on the server.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.recovery_benchmark import make_shop
from lockkeeper.engine import Engine
from lockkeeper.home import HOME_VARIABLE
from lockkeeper.local.postgres_server import temporary_postgres
from lockkeeper.models import Outcome
from lockkeeper.postgres.connection import connect, fetch_all
from lockkeeper.record import new_run_id
from lockkeeper.recoveries import run_recover
from lockkeeper.recovery.capture.files import captures_home
from lockkeeper.runbook import MigrationRequest
from tests.acceptance.conftest import Shop
from tests.acceptance.journal_writers import BAD_MIGRATIONS, Judgement, judge, wait_for_commits, writing
from tests.acceptance.test_kills import command
from tests.acceptance.test_zero_loss import OUR_OBJECTS

RUN_TIMEOUT_S = 180.0


class Point(NamedTuple):
    """Where who is killed: ``when`` (before or after) the ``call``-th call of ``function`` by the run."""

    victim: str
    when: str
    module: str
    function: str
    call: int = 1


POINTS = {
    "identities set": Point("run", "after", "capture.handle", "set_full"),
    "publication made": Point("run", "after", "capture.handle", "create_publication"),
    "slot made, no sentinel yet": Point("run", "before", "capture.handle", "start_sentinel"),
    "capture streams, no backup yet": Point("run", "after", "capture.handle", "Capture.ensure_running"),
    "copy verified, not noted": Point("run", "before", "standby", "Standby.note"),
    "replay started": Point("run", "after", "standby", "start_replay"),
    "at the gate": Point("run", "before", "take_over", "wait_until_close"),
    "fenced": Point("run", "after", "exchange", "fence"),
    "drained": Point("run", "before", "take_over", "TakeOver._prove_the_rest"),
    "copy spent": Point("run", "after", "standby", "Standby.spend"),
    "copy finished": Point("run", "after", "replay.handle", "Replay.finish"),
    "capture detached": Point("run", "after", "capture.handle", "Capture.detach"),
    "sequences set": Point("run", "after", "exchange", "carry_sequences"),
    "swapped": Point("run", "after", "exchange", "swap"),
    "capture ended": Point("run", "after", "capture.handle", "Capture.end"),
    "capture's process, at the gate": Point("capture", "before", "take_over", "wait_until_close"),
    "replay's process, at the gate": Point("replay", "before", "take_over", "wait_until_close"),
    "capture's process, fenced": Point("capture", "after", "exchange", "fence"),
    "replay's process, fenced": Point("replay", "after", "exchange", "fence"),
}


def die_at(name: str) -> None:
    """Arrange in this process that the point's victim is killed there."""
    point = POINTS[name]
    owner: Any = importlib.import_module(f"lockkeeper.recovery.{point.module}")
    *outer, function = point.function.split(".")
    for attribute in outer:
        owner = getattr(owner, attribute)
    original: Callable[..., Any] = getattr(owner, function)
    calls = 0

    def deadly(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == point.call and point.when == "before":
            _kill(point.victim)
        result = original(*arguments, **named)
        if calls == point.call and point.when == "after":
            _kill(point.victim)
        return result

    setattr(owner, function, deadly)


def _kill(victim: str) -> None:
    if victim == "run":
        os.kill(os.getpid(), signal.SIGKILL)
    (identity,) = captures_home().glob(f"*/*/{victim}-process.json")
    os.kill(json.loads(identity.read_text())["pid"], signal.SIGKILL)


def migrate_and_die(shop: Shop, name: str) -> int:
    """Run the migration in a process of its own that dies there; returns its exit code."""
    (_, operation, *options), environment = command(shop)
    program = f"from benchmarks.kill_benchmark import die_at; die_at({name!r})\n"
    program += "from lockkeeper.cli.main import main; main()"
    lock_timeout = f"lock_timeout_ms={shop.target.policies.lock_timeout_ms}"
    argv = [
        sys.executable, "-c", program, operation, shop.target.name, *options, "--set", lock_timeout,
        "--set", f"lock_retries={shop.target.policies.lock_retries}",
    ]  # fmt: skip
    done = subprocess.run(argv, env=environment, capture_output=True, timeout=RUN_TIMEOUT_S, check=False)
    return done.returncode


def recover(shop: Shop) -> tuple[str, str | None]:
    """Play ``recover``; returns how it ended and with what error."""
    run_id = new_run_id()
    request = MigrationRequest(run_id=run_id, target=shop.target.name, database=shop.target.database)
    report = run_recover(Engine(shop.target, run_id), request)
    if report.outcome is Outcome.REFUSED and "waits for a recovery" in str(report.error):
        return "had recovered by itself", None
    return str(report.outcome), None if report.outcome is Outcome.SUCCEEDED else report.error


def play(shop: Shop, name: str, seed: int) -> tuple[str, bool]:
    """Kill at one point and resume; returns a line of the table, and whether nothing is wrong."""
    shop.add_revision("bad", f"op.execute({BAD_MIGRATIONS['dropped column']!r})", "raise ValueError('none')")
    shop.add_rule("never_satisfied", "SELECT 1 AS broken")
    with writing(shop.url, seed=seed, pause_s=0.01) as writers:
        wait_for_commits(writers, 20)
        code = migrate_and_die(shop, name)
        began = time.monotonic()
        outcome, error = recover(shop)
        took_s = time.monotonic() - began
        wait_for_commits(writers, 20)
    if error is not None:
        return f"{name} | exit {code}, {outcome}: {error}", False
    judgement: Judgement = judge(shop.url, writers)
    with connect(shop.url, "benchmark") as connection:
        left = [str(row[0]) for row in fetch_all(connection, OUR_OBJECTS)]
    died = code == -signal.SIGKILL or POINTS[name].victim != "run"
    clean = judgement.is_clean and error is None and not left and died
    how = f"exit {code}, {outcome} in {took_s:.1f} s" + (f": {error}" if error else "")
    return f"{name} | {how} | {judgement} | left: {', '.join(left) or 'nothing'}", clean


def main() -> None:
    """Play every point that was asked for; exits with an error unless all are clean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--major", type=int, default=16)
    parser.add_argument("--point", nargs="+", choices=list(POINTS), default=list(POINTS))
    options = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory(prefix="lockkeeper-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with temporary_postgres(folder, major=options.major) as server:
            for number, point in enumerate(options.point):
                os.environ[HOME_VARIABLE] = str(folder / f"home{number}")
                told, clean = play(
                    make_shop(server, folder, f"shop{number}", 0.001), point, options.seed + number
                )
                bad += not clean
                print(f"{'ok' if clean else 'WRONG'} | {told}", flush=True)
    raise SystemExit(f"{bad} of {len(options.point)} were not clean" if bad else 0)


if __name__ == "__main__":
    main()
