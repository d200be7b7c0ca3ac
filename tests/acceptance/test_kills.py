"""kill -9 in mid-run, at every step, then the same command once more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lockkeeper.postgres.connection import connect, execute, fetch_value

LOCKKEEPER = str(Path(sys.executable).with_name("lockkeeper"))
ADD_STATUS = "op.execute(\"ALTER TABLE users ADD COLUMN status text DEFAULT 'active'\")"
DROP_STATUS = 'op.execute("ALTER TABLE users DROP COLUMN status")'


def command(shop, name: str = "migrate") -> tuple[list[str], dict[str, str]]:
    argv = [
        LOCKKEEPER, name, "--database-url-env", "SHOP_URL", "--alembic", str(shop.folder / "alembic.ini"),
        "--storage", str(shop.target.storage.path), "--rules", str(shop.folder / "rules"), "--json",
        "--set", f"rehearsal={shop.target.policies.rehearsal}",
        "--set", f"capture={shop.target.policies.capture}",
    ]  # fmt: skip
    environment = {**os.environ, "SHOP_URL": shop.url.render_as_string(hide_password=False)}
    return argv, environment


def run(shop, name: str) -> dict:
    argv, environment = command(shop, name)
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120)
    return {"code": done.returncode, **json.loads(done.stdout)}


def running_step(shop) -> str | None:
    """The step that the newest run in the journal is in."""
    for path in sorted(Path(shop.target.storage.path).rglob("runs/*.json"), reverse=True)[:1]:
        steps = json.loads(path.read_text())["steps"]
        return steps[-1]["name"] if steps and steps[-1]["state"] == "running" else None
    return None


def kill_in_step(shop, step: str) -> None:
    """Start a migration in a process of its own and kill -9 it while ``step`` runs."""
    argv, environment = command(shop)
    with subprocess.Popen(
        argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        pause = threading.Event()
        for _ in range(12_000):
            if running_step(shop) == step:
                break
            assert process.poll() is None, "it ended before it came to that step"
            pause.wait(0.005)
        os.kill(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("step", ["preflight", "backup", "verify-backup", "rehearse", "migrate", "verify"])
def test_a_run_that_is_killed_can_be_run_again(shop, step) -> None:
    shop.with_policies(rehearsal="full")
    shop.add_revision("r1", ADD_STATUS + "\ntime.sleep(0.5)", DROP_STATUS)
    kill_in_step(shop, step)
    report = run(shop, "migrate")
    assert report["code"] == 0, report
    with connect(shop.url, "tests") as connection:
        assert fetch_value(connection, "SELECT count(*) FROM users WHERE status = 'active'") == 500
        leftovers = "SELECT count(*) FROM pg_database WHERE datname LIKE %s"
        assert fetch_value(connection, leftovers, (f"{shop.target.database}_lk_verify%",)) == 0


def test_a_run_that_is_killed_in_its_recovery_leaves_before_or_after(shop) -> None:
    shop.add_revision("r1", 'op.execute("UPDATE users SET balance = 0")', "pass")
    shop.add_rule("no_zero", "SELECT id FROM users WHERE balance = 0")
    with connect(shop.url, "tests") as connection:
        execute(
            connection, "CREATE TABLE ballast AS SELECT n, md5(n::text) FROM generate_series(1, 200000) n"
        )
    shop.remember()
    kill_in_step(shop, "recover: restore")
    assert "recover: restore" in json.dumps(run(shop, "status"))
    with connect(shop.url, "tests") as connection:
        balances = fetch_value(connection, "SELECT count(DISTINCT balance) FROM users")
    assert balances in (1, 500), "neither the state after the migration nor that before"
    if balances == 500:
        assert shop.differences() == []
