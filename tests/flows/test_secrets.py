"""A canary is planted wherever a secret may stand; then everything that a run leaves behind is searched."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from prefect.client.orchestration import SyncPrefectClient
from psycopg2 import sql

from lockkeeper.postgres.connection import connect, execute
from tests.flows.observing import log_of, play, task_runs

PASSWORD, APP_TOKEN, HOOK = "canary!pass/word", "canary-token-1", "canary-hook-1"
LEAKY_UPGRADE = """
op.execute("ALTER TABLE users ADD COLUMN status text")
print("connecting to", os.environ["DATABASE_URL"])
raise RuntimeError("no luck with " + os.environ["DATABASE_URL"] + " and " + os.environ["APP_TOKEN"])
"""


@contextmanager
def watching_argv() -> Iterator[set[str]]:
    """Collect the command lines of all processes, again and again, for the length of the block."""
    seen: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
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


def found_in(text: str) -> list[str]:
    """The canaries in a text, also as a URL would spell them."""
    spellings = [PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD), APP_TOKEN, HOOK]
    return [spelling for spelling in spellings if spelling in text]


def test_no_secret_leaves_a_failing_run_anywhere(
    make_shop, server, slack, s3, bucket, api, prefect_server
) -> None:
    with connect(server.url(), "tests") as connection:
        statement = sql.SQL("CREATE ROLE canary SUPERUSER LOGIN PASSWORD {}")
        execute(connection, statement.format(sql.Literal(PASSWORD)))
    slack.url = slack.url.rsplit("/", 1)[0] + "/" + HOOK
    login = server.url().set(username="canary", password=PASSWORD)
    shop = make_shop(
        alembic_environment={"APP_TOKEN": APP_TOKEN}, storage=bucket, storage_folder=None, login=login
    )
    shop.add_revision("r1", LEAKY_UPGRADE)
    # So that pg_dump is there long enough to be looked at.
    shop.execute("CREATE TABLE ballast AS SELECT n, md5(n::text) FROM generate_series(1, 500000) n")

    with watching_argv() as argv:
        state = play(shop.name)

    assert state.name == "Unchanged", state.message
    assert "no luck with" in str(state.message)
    assert "pg_dump" in "\n".join(argv)
    assert "migrate" in task_runs(api, state)
    log_of(api, state)
    assert found_in("\n".join(argv)) == []
    assert found_in(str(slack.messages)) == []
    told = everything_the_api_tells(api)
    assert "no luck with" in told
    assert found_in(told) == []
    for file in Path(prefect_server).parent.glob("*.db*"):
        assert found_in(file.read_bytes().decode(errors="replace")) == [], file.name
    for file in (s3.folder / "flows").rglob("*.json"):
        assert found_in(file.read_text()) == [], file.name
