"""A canary is planted wherever a secret may stand; then everything that a run leaves behind is searched."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from prefect.client.orchestration import SyncPrefectClient
from psycopg2 import sql
from sqlalchemy.engine import URL

from lockkeeper.postgres.connection import connect, execute, fetch_all
from tests.flows.observing import log_of, play, task_runs

PASSWORD, SCRATCH_PASSWORD, APP_TOKEN = "canary!pass/word", "canary?scratch@word", "canary-token-1"
HOOK, ALERT_HOOK = "canary-hook-1", "canary-alert-1"
TELL = 'print("connecting to", os.environ["DATABASE_URL"], "as", os.environ["APP_TOKEN"])\n'
LEAK = 'raise RuntimeError("no luck with " + os.environ["DATABASE_URL"] + " and " + os.environ["APP_TOKEN"])'
ALWAYS_ALERTED = {"impact_probe_ms": 0.0001, "impact_action": "warn"}
LEAKY_DOWNGRADE = 'op.execute("SELECT 1")\n' + LEAK
"""One that only raises says that there is no way back, and is not run."""
BALLAST = "CREATE TABLE ballast AS SELECT n, md5(n::text) FROM generate_series(1, 50000) n"
"""So that the programs that read and write it are there long enough to be looked at."""


@dataclass(frozen=True)
class Story:
    """A migration that says all it knows wherever it can, and how its run ends."""

    upgrade: str
    ends: str
    steps: set[str]
    programs: tuple[str, ...]
    downgrade: str = "pass"
    capture: str = "off"
    on_another_server: bool = False


STORIES = {
    "unchanged": Story(
        TELL + 'op.execute("ALTER TABLE users ADD COLUMN status text")\n' + LEAK,
        "Unchanged",
        {"migrate", "verify-unchanged"},
        ("pg_dump",),
        on_another_server=True,
    ),
    "restored": Story(
        TELL + 'op.execute("UPDATE users SET balance = 0")',
        "Recovered",
        {"downgrade", "restore"},
        ("pg_dump", "pg_restore"),
        downgrade=LEAKY_DOWNGRADE,
    ),
    "captured": Story(
        TELL + 'op.execute("UPDATE users SET balance = 0")',
        "Recovered",
        {"stand-by", "warm-swap"},
        ("pg_dump", "lockkeeper.recovery"),
        downgrade=LEAKY_DOWNGRADE,
        capture="auto",
    ),
}


@contextmanager
def watching_argv() -> Iterator[set[str]]:
    """Collect the command lines of all processes, again and again, for the length of the block."""
    seen: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:  # it has just ended
                    continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def everything_the_api_tells(api: SyncPrefectClient) -> str:
    kinds = ("flow_runs", "task_runs", "logs", "artifacts", "block_documents", "flows", "deployments")
    return "\n".join(api._client.post(f"/{kind}/filter", json={}).text for kind in kinds)


def found_in(text: str, *more: str) -> list[str]:
    """The canaries in a text, also as a URL would spell them."""
    secrets = [PASSWORD, SCRATCH_PASSWORD, APP_TOKEN, HOOK, ALERT_HOOK, *more]
    spellings = [spelling for one in secrets for spelling in (one, quote(one, safe=""), quote(one))]
    return [spelling for spelling in spellings if spelling in text]


@pytest.fixture
def canaries(server) -> tuple[URL, URL]:
    """Logins for the database and for the scratch server, with a canary each; they stay on the server."""
    roles = {"canary": PASSWORD, "canary_scratch": SCRATCH_PASSWORD}
    with connect(server.url(), "tests") as connection:
        known = {name for (name,) in fetch_all(connection, "SELECT rolname FROM pg_roles")}
        for role in roles.keys() - known:
            statement = sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}")
            execute(connection, statement.format(sql.Identifier(role), sql.Literal(roles[role])))
    return tuple(server.url().set(username=role, password=password) for role, password in roles.items())


@pytest.mark.parametrize("name", STORIES)
def test_no_secret_leaves_a_failing_run_anywhere(
    make_shop, canaries, slack, s3, bucket, api, prefect_server, name
) -> None:
    story = STORIES[name]
    login, scratch = canaries
    address = slack.url.rsplit("/", 1)[0]
    slack.url = f"{address}/{HOOK}"
    more = {"scratch_url": scratch.render_as_string(hide_password=False)} if story.on_another_server else {}
    shop = make_shop(
        alembic_environment={"APP_TOKEN": APP_TOKEN},
        storage=bucket,
        storage_folder=None,
        login=login,
        alert_webhook_url=f"{address}/{ALERT_HOOK}",
        policies={
            "rehearsal": "off",
            "capture": story.capture,
            "impact_probe_ms": 0.0001,
            "impact_action": "warn",
        },
        **more,
    )
    shop.add_revision("r1", story.upgrade, story.downgrade)
    shop.add_rule("balances", "SELECT id FROM users WHERE balance = 0")
    shop.execute(BALLAST)

    with watching_argv() as argv:
        state = play(shop.name)

    assert state.name == story.ends, state.message
    assert story.steps <= set(task_runs(api, state))
    assert [program for program in story.programs if program not in "\n".join(argv)] == []
    log_of(api, state)
    keys = (s3.secret_access_key,)
    assert found_in("\n".join(argv), *keys) == []
    assert any("rule" in message for message in slack.wait_for(3)), "the webhook was told, too"
    assert found_in(str(slack.messages), *keys) == []
    told = everything_the_api_tells(api)
    assert "no luck with" in told
    assert found_in(told, *keys) == []
    for file in Path(prefect_server).parent.glob("*.db*"):
        assert found_in(file.read_bytes().decode(errors="replace"), *keys) == [], file.name
    stored = [file for file in (s3.folder / "flows").rglob("*") if file.is_file()]
    assert {".json", ".html", ".zst"} <= {file.suffix for file in stored}
    for file in stored:
        assert found_in(file.read_bytes().decode(errors="replace"), *keys) == [], file.name
