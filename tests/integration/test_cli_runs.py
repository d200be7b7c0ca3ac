"""The program ``lockkeeper`` as people start it, on a real server: documents, exit codes, the way back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.models import utc_now
from lockkeeper.postgres.connection import connect, execute, fetch_value, scratch_name
from lockkeeper.postgres.databases import QUARANTINE, Note, set_comment
from lockkeeper.postgres.locks import migration_lock
from tests.integration.registered_shop import Shop, drop_all_of

DEADLINE_S = 60.0
SLEEPING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
)


@pytest.fixture(scope="module")
def make_shop(
    servers: Callable[[int], EmbeddedPostgres], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Shop]]:
    server = servers(16)
    made: list[str] = []

    def make() -> Shop:
        name = scratch_name("cli", "t")
        with connect(server.url(), "tests") as connection:
            execute(connection, f'CREATE DATABASE "{name}"')
        made.append(name)
        return Shop(server.url(name), tmp_path_factory.mktemp("shop"))

    yield make
    for name in made:
        drop_all_of(server, name)


@pytest.fixture(scope="module")
def untouched(make_shop: Callable[[], Shop]) -> Shop:
    """A shop at base0, for what must not change it."""
    return make_shop()


@pytest.fixture(scope="module")
def migration(make_shop: Callable[[], Shop]) -> tuple[Shop, dict[str, Any]]:
    """A shop that was migrated to good1, and the document of that run."""
    shop = make_shop()
    document = shop.document("migrate", "shop", "good1", "--report-file", "report.md")
    return shop, document


def test_a_migration_ends_as_one_document_with_its_whole_story(
    migration: tuple[Shop, dict[str, Any]],
) -> None:
    shop, document = migration
    assert (document["outcome"], document["exit_code"]) == ("succeeded", 0), document
    names = [step["name"] for step in document["steps"]]
    assert names == [
        "preflight",
        "backup",
        "verify-backup",
        "rehearse",
        "migrate",
        "verify",
        "expire-backups",
    ]
    assert [one["revision"] for one in document["revisions"]] == ["good1"]
    assert document["initiator"]
    assert shop.value("SELECT count(*) FROM users WHERE status = 'on'") == 200
    assert "Migration of shop: succeeded" in (shop.folder / "report.md").read_text()
    page = shop.document("report", "shop", "--output", "run.html")
    assert page["run_id"] == document["run_id"]
    assert "Migration of shop: succeeded" in (shop.folder / "run.html").read_text()
    assert (shop.folder / "backups" / "shop" / "reports" / f"{document['run_id']}.html").exists()


def test_a_renames_report_has_the_curve_of_its_backfill(migration: tuple[Shop, dict[str, Any]]) -> None:
    shop, _ = migration
    slowly = ("--policy", "throttle.batch_rows=50", "--policy", "throttle.pause_ms=400")
    document = shop.document("rename", "start", "shop", "users", "email", "contact", *slowly)
    assert document["outcome"] == "waits for approval", document
    shop.document("report", "shop", document["run_id"], "--output", "rename.html")
    assert "Rows filled" in (shop.folder / "rename.html").read_text()
    assert sum(rate for _, rate in document["backfill"]["rows_per_s"]) > 0
    shop.document("rename", "abort", "shop", "users", "email", "contact")


def test_backups_are_listed_with_their_states(migration: tuple[Shop, dict[str, Any]]) -> None:
    shop, document = migration
    listed = shop.document("backups", "shop")["backups"]
    assert [(one["id"], one["state"]) for one in listed] == [(document["backup_id"], "verified")]


def test_status_says_where_a_target_stands(migration: tuple[Shop, dict[str, Any]]) -> None:
    shop, document = migration
    status = shop.document("status", "shop")
    assert status["revisions"] == ["good1"]
    assert status["migration_running"] is None
    assert status["latest_verified_backup"]["id"] == document["backup_id"]
    assert document["run_id"] in [run["run_id"] for run in status["runs"]]
    assert status["problems"] == {}


def test_clean_only_shows_until_it_is_told_and_drops_the_newest_quarantine_only_by_name(
    make_shop: Callable[[], Shop],
) -> None:
    shop = make_shop()
    older, newest = (f"{shop.url.database}_lk_failed_2026010{day}000000" for day in (1, 2))
    with connect(shop.url.set(database="postgres"), "tests") as connection:
        for name in (older, newest):
            execute(connection, f'CREATE DATABASE "{name}" TEMPLATE template0')
            note = Note(
                lockkeeper=QUARANTINE,
                database=str(shop.url.database),
                run_id=None,
                created_at=utc_now(),
                reason="t",
            )
            set_comment(connection, name, note.model_dump_json())
    shown = shop.document("clean", "shop")
    assert shown["would_remove"] == [f"quarantine {older}"]
    assert f"quarantine {newest}" in shown["stays"]
    assert shop.document("clean", "shop", "--yes")["exit_code"] == 0
    left = [one["name"] for one in shop.document("status", "shop")["leftovers"]]
    assert (newest in left, older in left) == (True, False)
    assert shop.document("clean", "shop", "--yes", "--quarantine", newest)["exit_code"] == 0
    assert shop.document("clean", "shop")["would_remove"] == []


def test_a_target_needs_no_registration(migration: tuple[Shop, dict[str, Any]]) -> None:
    shop, _document = migration
    document = shop.document("migrate", "--revision", "good1", *shop.described())
    assert (document["outcome"], document["exit_code"]) == ("nothing to do", 0)
    assert document["backup_id"] is None
    assert document["target"] == document["database"].replace("_", "-")


def test_nothing_but_the_result_is_written_when_nobody_looks(migration: tuple[Shop, dict[str, Any]]) -> None:
    done = migration[0].run("migrate", "shop", "good1")
    assert done.stderr == ""
    assert done.stdout.startswith("Migration of shop: nothing to do")
    assert "\x1b" not in done.stdout


def test_an_unknown_revision_is_refused_before_anything_is_touched(untouched: Shop) -> None:
    document = untouched.document("migrate", "shop", "nope")
    assert (document["outcome"], document["exit_code"]) == ("refused", 2)
    assert "nope" in document["error"]
    assert untouched.document("backups", "shop")["backups"] == []
    assert untouched.value("SELECT version_num FROM alembic_version") == "base0"


def test_a_plan_shows_every_revision_and_touches_nothing(untouched: Shop) -> None:
    document = untouched.document("plan", "shop", "good1")
    assert document["exit_code"] == 0
    assert [step["id"] for step in document["plan"]["steps"]] == ["good1"]
    assert untouched.value("SELECT version_num FROM alembic_version") == "base0"


def test_an_unknown_target_is_refused(untouched: Shop) -> None:
    done = untouched.run("migrate", "shp")
    assert done.returncode == 2
    assert "known: shop" in done.stderr


def test_a_wrong_password_is_refused_and_not_printed(untouched: Shop) -> None:
    canary = "Canary-0e8d-wrong"
    wrong = untouched.url.set(password=canary).render_as_string(hide_password=False)
    for command in (("migrate", "shop"), ("target", "check", "shop", "--json"), ("plan", "shop", "--debug")):
        done = untouched.run(*command, SHOP_URL=wrong)
        assert done.returncode == 2, done.stdout + done.stderr
        assert canary not in done.stdout + done.stderr
        assert "password authentication failed" in done.stdout + done.stderr


def test_check_shows_every_check_and_refuses_for_one(untouched: Shop) -> None:
    (untouched.folder / "a-file").touch()
    described = list(untouched.described())
    described[described.index("--storage") + 1] = str(untouched.folder / "a-file" / "backups")
    document = untouched.document("target", "check", "--revision", "good1", *described)
    assert document["exit_code"] == 2
    states = {check["name"]: check["state"] for check in document["checks"]}
    assert states["connection"] == "ok"
    assert states["revision"] == "ok"
    assert [name for name, state in states.items() if state in ("failed", "could not check")] == ["storage"]


def test_a_second_migration_is_refused_with_the_holder_of_the_lock(untouched: Shop) -> None:
    with migration_lock(untouched.url.set(database="postgres"), str(untouched.url.database), "first"):
        document = untouched.document("migrate", "shop", "good1")
    assert (document["outcome"], document["exit_code"]) == ("refused", 2)
    assert "lockkeeper:lock:first" in document["error"]


def test_over_the_budget_nobody_is_there_to_ask_so_the_command_that_approves_is_told(
    make_shop: Callable[[], Shop],
) -> None:
    shop = make_shop()
    policies = ("--set", "approval=over-budget", "--set", "max_block_ms=0")
    asked = shop.run("migrate", "shop", "good1", *policies, "--json")
    assert asked.returncode == 2
    document = json.loads(asked.stdout)
    assert document["outcome"] == "needs approval"
    line = document["next_command"]
    by_hand = f" migrate shop good1 --approve {document['run_id']} {' '.join(policies)}"
    assert line.endswith(f'{by_hand} --reason "..."')
    assert [one["subject"] for one in document["risk"]["findings"] if one["counts"]] == ["public.users"]

    copied = shop.at_a_shell(line)
    assert (copied.returncode, "each need a reason" in copied.stderr) == (2, True)
    wrong = shop.run("migrate", "shop", "good1", *policies, "--approve", "nosuchrun", "--reason", "x")
    assert (wrong.returncode, "is not known" in wrong.stderr) == (2, True)
    done = json.loads(shop.at_a_shell(line.replace('"..."', "'it is short'") + " --json").stdout)

    assert done["outcome"] == "succeeded", done["error"]
    assert done["approval"]["reason"] == "it is short"
    lost = shop.run("approve", "shop", "--reason", "x", PREFECT_API_URL="")
    assert (lost.returncode, "Set PREFECT_API_URL" in lost.stderr) == (2, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=lambda one: one.name)
def test_an_interrupted_migration_recovers_before_it_ends(
    make_shop: Callable[[], Shop], number: signal.Signals
) -> None:
    shop = make_shop()
    with shop.start("migrate", "shop", "slow3", "--json", "--set", "rehearsal=off") as process:
        wait_for(shop, SLEEPING)
        process.send_signal(number)
        wait_for_end(process, again=number)
        out, err = process.communicate()
    document = json.loads(out)
    assert document["exit_code"] == process.returncode == 1, err
    assert document["recovery"][-1]["succeeded"] is True
    assert shop.value("SELECT version_num FROM alembic_version") == "base0"
    assert shop.value("SELECT to_regclass('half')") is None


def wait_for(shop: Shop, query: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    with connect(shop.url, "tests") as connection:
        while not fetch_value(connection, query):
            assert time.monotonic() < deadline, query
            time.sleep(0.05)


def wait_for_end(process: subprocess.Popen[str], *, again: signal.Signals) -> None:
    """Wait, and go on interrupting: a recovery must not be cut short by it."""
    deadline = time.monotonic() + DEADLINE_S
    while process.poll() is None:
        assert time.monotonic() < deadline
        try:
            process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            process.send_signal(again)


def test_a_restore_that_would_lose_writes_is_refused_until_they_may_go(make_shop: Callable[[], Shop]) -> None:
    shop = make_shop()
    backup_id = shop.document("backup", "shop")["backup_id"]
    with connect(shop.url, "tests") as connection:
        execute(connection, "INSERT INTO users (email) VALUES ('late@example.org')")
    refused = shop.document("restore", "shop", backup_id)
    assert (refused["outcome"], refused["exit_code"]) == ("refused", 2)
    assert "users" in refused["error"]
    assert "--accept-loss" in refused["error"]
    assert shop.value("SELECT count(*) FROM users") == 201
    done = shop.document("restore", "shop", backup_id, "--accept-loss")
    assert (done["outcome"], done["exit_code"]) == ("succeeded", 0), done
    assert shop.value("SELECT count(*) FROM users") == 200
    kept = "SELECT count(*) FROM pg_database WHERE datname = '{}'"
    assert shop.value(kept.format(done["restore"]["quarantine_database"])) == 1


def test_an_unknown_backup_is_refused(untouched: Shop) -> None:
    document = untouched.document("restore", "shop", "20200101T000000Z-ffffff")
    assert document["exit_code"] == 2
    assert "No backup" in document["error"]


def test_help_imports_none_of_the_heavy_modules() -> None:
    heavy = ("pydantic", "sqlalchemy", "boto3", "psycopg2", "alembic", "prefect")
    code = f"import sys, lockkeeper.cli.main; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
