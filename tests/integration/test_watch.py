"""``lockkeeper watch`` on a real server: in a terminal, and as one document; it shows who waits for whom."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest
from sqlalchemy.engine import URL

from lockkeeper.cli.live_screen import sparkline
from lockkeeper.config import Target
from lockkeeper.monitoring.live import looking_at
from lockkeeper.postgres.connection import Connection, connect, execute, fetch_all
from tests.integration.capture_story import eventually

LOCKKEEPER = Path(sys.executable).with_name("lockkeeper")
DEADLINE_S = 60.0
_STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@contextlib.contextmanager
def queue_behind_a_reader(url: URL) -> Iterator[None]:
    """A reader that forgets to commit, an ALTER TABLE that waits for it, a writer that waits for both."""
    waiting = [
        "ALTER TABLE users ADD COLUMN note text",
        "UPDATE users SET email = 'x' WHERE email = 'secret@example.org'",
    ]

    def wait(statement: str) -> None:
        with connect(url, "tests") as connection:
            execute(connection, statement)

    with connect(url, "a forgotten reader") as reader:
        execute(reader, "BEGIN; SELECT count(*) FROM users")
        threads = []
        for statement in waiting:
            threads.append(threading.Thread(target=wait, args=(statement,)))
            threads[-1].start()
            with connect(url, "tests") as connection:
                eventually(lambda c=connection, s=statement: _waits(c, s), "it does not wait")  # type: ignore[misc]
        try:
            yield
        finally:
            execute(reader, "ROLLBACK")
            for thread in threads:
                thread.join()


def _waits(connection: Connection, statement: str) -> bool:
    query = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query = %s"
    return bool(fetch_all(connection, query, (statement,)))


@pytest.fixture
def shop(database: URL, make_target: Callable[..., Target]) -> Target:
    with connect(database, "tests") as connection:
        execute(connection, "CREATE TABLE users (id int PRIMARY KEY, email text)")
    return make_target(database)


def command(shop: Target, tmp_path: Path, *more: str) -> tuple[list[str], dict[str, str]]:
    argv = [
        str(LOCKKEEPER), "watch", "--database-url-env", "SHOP_URL",
        "--storage", str(tmp_path / "storage"), *more,
    ]  # fmt: skip
    return argv, {
        **os.environ,
        "SHOP_URL": shop.database_url.get_secret_value(),
        "LOCKKEEPER_HOME": str(tmp_path / "home"),
        "TERM": "xterm-256color",
    }


def test_one_document_holds_what_the_screen_shows(shop: Target, tmp_path: Path) -> None:
    argv, environment = command(shop, tmp_path, "--json")
    with queue_behind_a_reader(shop.url):
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    waits = document["activity"]["waits"]
    assert {wait["blocker_state"] for wait in waits} >= {"idle in transaction"}
    assert any("ALTER TABLE" in wait["waiter_statement"] for wait in waits)
    assert document["latencies_ms"]
    assert (document["holder"], document["run"], document["problems"]) == (None, None, {})
    assert "secret@example.org" not in done.stdout, "statements are shown without their values"
    assert shop.database_url.get_secret_value() not in done.stdout


def test_without_a_terminal_it_is_one_picture(shop: Target, tmp_path: Path) -> None:
    argv, environment = command(shop, tmp_path)
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    assert "migration lock: free" in done.stdout
    assert "\x1b" not in done.stdout


def test_in_a_terminal_it_goes_on_until_it_is_interrupted(shop: Target, tmp_path: Path) -> None:
    argv, environment = command(shop, tmp_path, "--interval", "0.2")
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
    program = subprocess.Popen(argv, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        shown = _until(ours, "", "latency of the probe query")
        with queue_behind_a_reader(shop.url):
            shown = _until(ours, shown, "waiting for locks")
            shown = _until(ours, shown, "UPDATE users")
        program.send_signal(signal.SIGINT)
        shown = _until(ours, shown, None)
        assert program.wait(DEADLINE_S) == 0, shown[-2000:]
    finally:
        program.kill()
        program.wait()
        os.close(ours)
    assert "lockkeeper:a forgotten reader" in shown


def _until(terminal: int, shown: str, text: str | None) -> str:
    """Read what is drawn until ``text`` is there; None: until the program closes the terminal."""
    deadline = time.monotonic() + DEADLINE_S
    while text is None or text not in shown:
        assert time.monotonic() < deadline, f"{text!r} was never shown: {shown[-2000:]}"
        if select.select([terminal], [], [], 0.5)[0]:
            try:
                drawn = os.read(terminal, 65536)
            except OSError:  # Linux's way to say that the other side is closed
                drawn = b""
            if not drawn:
                assert text is None, f"it ended before {text!r} was shown: {shown[-2000:]}"
                return shown
            shown += _STEERING.sub("", drawn.decode(errors="replace"))
    return shown


def test_a_server_that_goes_away_is_told_and_found_again(shop: Target) -> None:
    with looking_at(shop, 0.2) as look:
        assert look().problems == {}
        with connect(shop.maintenance_url, "tests") as server:
            execute(server, f"ALTER DATABASE {shop.database} ALLOW_CONNECTIONS false")
            execute(
                server,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (shop.database,),
            )
            lost = look()
            assert "activity" in lost.problems
            assert lost.activity is None
            execute(server, f"ALTER DATABASE {shop.database} ALLOW_CONNECTIONS true")
        eventually(lambda: look().activity is not None, "it is not found again")


def test_a_sparkline_has_its_highest_block_at_the_largest_value() -> None:
    assert sparkline([0.0, 4.0, 8.0]) == "▁▅█"
    assert sparkline([]) == ""
