"""Every check of the preflight, asked by a role that owns its database and may nothing else."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple, cast

import pytest
from sqlalchemy.engine import URL

from lockkeeper.config import LocalStorageSettings, Target
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.models import CheckState
from lockkeeper.postgres.connection import Connection, connect, execute, fetch_value
from lockkeeper.postgres.databases import data_folder, is_here
from lockkeeper.postgres.locks import migration_lock
from lockkeeper.preflight import run_preflight
from lockkeeper.recovery.capture import capture_readiness
from lockkeeper.storage.local import Disk, disk_of
from tests.conftest import DEFAULT_MAJOR, MAJORS
from tests.integration.plain_roles import plain_owner
from tests.integration.planting import BIG, FILL, application, run, wait_for

OK, WARNING, FAILED = CheckState.OK, CheckState.WARNING, CheckState.FAILED
MakeTarget = Callable[..., Target]


@pytest.fixture
def owner(database: URL) -> Iterator[URL]:
    """A fresh database, as its owner reaches it."""
    with plain_owner(database) as url:
        yield url


def checks_of(target: Target, name: str) -> list[tuple[CheckState, str]]:
    """Return state and message of the checks of that name."""
    checks = run_preflight(target, "head", run_id="r1", lock_is_ours=False).checks
    assert ("connection", OK) in [(check.name, check.state) for check in checks], checks
    return [(check.state, check.message) for check in checks if check.name == name]


class Case(NamedTuple):
    """What is planted by a superuser, what must be told, and the statement that ends it."""

    name: str
    state: CheckState
    told: str
    remedy: str
    plant: tuple[str, ...] = ()
    advised: bool = True
    """Whether the check itself names the remedy."""


CASES = {
    "owner": Case(
        "privileges", FAILED, "does not own the database", "ALTER DATABASE {database} OWNER TO {role}",
        ("ALTER DATABASE {database} OWNER TO postgres",),
    ),
    "sessions of others": Case(
        "privileges", WARNING, "may not end other users' sessions", "GRANT pg_signal_backend TO {role}"
    ),
    "unreadable table": Case(
        "privileges", FAILED, "1 relations cannot be read: secret", "GRANT SELECT ON secret TO {role}",
        ("CREATE TABLE secret (id int)",), advised=False,
    ),
    "row security": Case(
        "privileges", FAILED, "1 relations cannot be read: mine", "ALTER ROLE {role} BYPASSRLS",
        ("CREATE TABLE mine (id int)", "GRANT SELECT ON mine TO {role}",
         "ALTER TABLE mine ENABLE ROW LEVEL SECURITY"), advised=False,
    ),
    "scratch databases": Case(
        "scratch server", FAILED, "may not create databases", "ALTER ROLE {role} CREATEDB"
    ),
    "read-only": Case(
        "server", FAILED, "default_transaction_read_only", "ALTER ROLE {role} RESET ALL",
        ("ALTER ROLE {role} SET default_transaction_read_only = on",), advised=False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_missing_is_told_until_it_is_granted(
    case: Case, database: URL, owner: URL, make_target: MakeTarget
) -> None:
    names = {"role": owner.username, "database": owner.database}
    run(database, *(statement.format(**names) for statement in case.plant))
    target, remedy = make_target(owner), case.remedy.format(**names)
    told = [message for state, message in checks_of(target, case.name) if state is case.state]
    [message] = [message for message in told if case.told in message]
    assert (remedy in message) == case.advised
    run(database, remedy)
    assert case.told not in str(checks_of(target, case.name))


def test_the_documented_privileges_leave_nothing_to_complain_of(
    database: URL, owner: URL, make_target: MakeTarget
) -> None:
    run(database, f"ALTER ROLE {owner.username} CREATEDB")
    run(database, f"GRANT pg_signal_backend, pg_monitor TO {owner.username}")
    target = make_target(owner, policies={"capture": "off"})
    with contextlib.closing(application(database)) as other:
        other.cursor().execute("SELECT 1")
        checks = run_preflight(target, "head", run_id="r1", lock_is_ours=False).checks
    complaints = {check.name for check in checks if check.state is not OK}
    assert complaints == {"revision"}, checks  # it has no project


def test_what_the_server_is_comes_from_the_server(database: URL, owner: URL, make_target: MakeTarget) -> None:
    with connect(database, "tests") as connection:
        mib = fetch_value(connection, "SELECT round(pg_database_size(current_database()) / 2.0 ^ 20)")
    assert checks_of(make_target(owner), "server") == [
        (OK, f"PostgreSQL {DEFAULT_MAJOR}, a primary, {mib:.0f} MiB")
    ]


@pytest.mark.parametrize(
    ("bound", "value", "state"),
    [("OLDEST_SERVER", DEFAULT_MAJOR + 1, FAILED), ("NEWEST_SERVER", DEFAULT_MAJOR - 1, WARNING)],
)
def test_a_server_of_another_age_is_told(
    owner: URL, make_target: MakeTarget, monkeypatch: pytest.MonkeyPatch, bound: str, value: int, state
) -> None:
    monkeypatch.setattr(f"lockkeeper.preflight.{bound}", value)
    [(found, message)] = checks_of(make_target(owner), "server")
    assert (found, f"PostgreSQL {DEFAULT_MAJOR} is " in message, str(value) in message) == (state, True, True)


def test_client_programs_that_are_not_there_are_refused(
    owner: URL, make_target: MakeTarget, tmp_path: Path
) -> None:
    [(state, message)] = checks_of(make_target(owner, client_bin_dir=tmp_path), "client programs")
    assert (state, str(tmp_path) in message) == (FAILED, True), message


def test_a_storage_that_gives_back_something_else_is_refused(
    owner: URL, make_target: MakeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lockkeeper.storage.local.LocalStorage.get_bytes", lambda *_: b"something else")
    [(state, message)] = checks_of(make_target(owner), "storage")
    assert (state, "shop/probe-r1 was read back as something else" in message) == (FAILED, True), message


def test_a_scratch_server_of_another_major_is_refused(
    servers: Callable[..., object], owner: URL, make_target: MakeTarget
) -> None:
    major = next(major for major in MAJORS if major != DEFAULT_MAJOR)
    scratch = servers(major).url().render_as_string(hide_password=False)
    [(state, message)] = checks_of(make_target(owner, scratch_url=scratch), "scratch server")
    assert (state, f"PostgreSQL {major}, the target is {DEFAULT_MAJOR}" in message) == (FAILED, True)


def test_a_migration_that_another_role_runs_is_told(
    database: URL, owner: URL, make_target: MakeTarget
) -> None:
    target = make_target(owner)
    with migration_lock(database.set(database=target.maintenance_database), target.database, "r0"):
        [(state, message)] = checks_of(target, "migration lock")
        assert (state, "of postgres, lockkeeper:lock:r0" in message) == (FAILED, True), message
    assert [state for state, _ in checks_of(target, "migration lock")] == [OK]


def test_how_old_a_hidden_transaction_is_counts_as_unknown_until_it_can_be_seen(
    database: URL, owner: URL, make_target: MakeTarget
) -> None:
    target = make_target(owner, policies={"max_transaction_age_s": 0.001})
    with contextlib.closing(application(database)) as other:
        other.cursor().execute("SELECT 1")
        [(state, message)] = checks_of(target, "transactions")
        assert state is WARNING
        assert "(shop-worker, user postgres)" in message
        run(database, f"GRANT pg_read_all_stats TO {owner.username}")
        assert f"GRANT pg_read_all_stats TO {owner.username}" in message
        [(state, message)] = checks_of(target, "long transactions")
        assert (state, "shop-worker" in message) == (FAILED, True)
        other.rollback()
        assert [state for state, _ in checks_of(target, "transactions")] == [OK]


def test_hidden_sessions_without_a_transaction_are_in_nobodys_way(
    database: URL, owner: URL, make_target: MakeTarget
) -> None:
    with connect(database, "idle") as idle:
        execute(idle, "SELECT 1")
        assert [state for state, _ in checks_of(make_target(owner), "transactions")] == [OK]


def test_a_standby_is_refused_as_a_target(replica, make_target: MakeTarget) -> None:
    [(state, message)] = checks_of(make_target(replica.url()), "server")
    assert (state, "standby" in message) == (FAILED, True)


def test_the_lag_of_a_real_standby_is_judged_and_one_that_is_hidden_is_not_passed(
    watched_database: URL, replica, make_target: MakeTarget
) -> None:
    target = make_target(watched_database, policies={"max_replication_lag_bytes": 2**20})
    run(watched_database, BIG)
    wait_for(watched_database, f"{LAG} < 65536")
    assert [state for state, _ in checks_of(target, "replication")] == [OK]
    run(replica.url(), "SELECT pg_wal_replay_pause()")
    run(watched_database, FILL)
    wait_for(watched_database, f"{LAG} > 1048576")
    [(state, message)] = checks_of(target, "replication")
    assert (state, "walreceiver is" in message, "the limit is 1048576" in message) == (FAILED, True, True)
    with plain_owner(watched_database) as owner:
        [(state, message)] = checks_of(make_target(owner), "replication")
        assert (state, f"GRANT pg_read_all_stats TO {owner.username}" in message) == (WARNING, True), message
    run(replica.url(), "SELECT pg_wal_replay_resume()")


LAG = "(SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)) FROM pg_stat_replication)"


def free_is(monkeypatch: pytest.MonkeyPatch, free_bytes: float) -> None:
    """Make every disk have so much free; which disk a folder is on stays as it is."""

    def fake(folder: Path) -> Disk:
        return disk_of(folder)._replace(free_bytes=int(free_bytes))

    monkeypatch.setattr("lockkeeper.room.disk_of", fake)


@pytest.mark.parametrize(("capture", "copies"), [("off", 1), ("auto", 2)])
def test_a_disk_without_room_for_all_copies_of_the_run_is_refused(
    database: URL,
    server_folder: Path,
    make_target: MakeTarget,
    monkeypatch: pytest.MonkeyPatch,
    capture: str,
    copies: int,
) -> None:
    storage = LocalStorageSettings(path=server_folder / "storage")  # on the server's disk
    target = make_target(database, storage, policies={"capture": capture})
    with connect(database, "tests") as connection:
        size_bytes = fetch_value(connection, "SELECT pg_database_size(current_database())")
    free_is(monkeypatch, (copies - 0.1) * size_bytes)
    [(state, message)] = checks_of(target, "disk")
    assert (state, "Free some, or name a scratch server" in message) == (FAILED, True), message
    free_is(monkeypatch, (copies + 0.5) * size_bytes)  # nobody knows how large a first dump will be
    assert [state for state, _ in checks_of(target, "disk")] == [WARNING]
    free_is(monkeypatch, (copies + 1.1) * size_bytes)
    assert [state for state, _ in checks_of(target, "disk")] == [OK]


def test_copies_go_to_the_disk_of_the_databases_own_tablespace(
    database: URL, server: EmbeddedPostgres, server_folder: Path, make_target: MakeTarget
) -> None:
    folder = server_folder / "another-disk"
    folder.mkdir()
    shutil.chown(folder, server.user)
    with connect(database.set(database="postgres"), "tests") as connection:
        execute(connection, f"CREATE TABLESPACE another_disk LOCATION '{folder}'")
        try:
            execute(connection, f'ALTER DATABASE "{database.database}" SET TABLESPACE another_disk')
            found = [message for _, message in checks_of(make_target(database), "disk")]
            execute(connection, f'ALTER DATABASE "{database.database}" SET TABLESPACE pg_default')
        finally:
            execute(connection, "DROP TABLESPACE another_disk")
    assert any(f"on the disk of {folder}" in message for message in found), found


def test_a_disk_that_the_role_may_not_see_is_not_passed_until_it_may(
    database: URL, owner: URL, make_target: MakeTarget
) -> None:
    target, remedy = make_target(owner), f"GRANT pg_read_all_settings TO {owner.username}"
    [message] = [message for state, message in checks_of(target, "disk") if state is WARNING]
    assert "the server's disk cannot be seen from here" in message
    assert remedy in message
    run(database, remedy)
    assert {state for state, _ in checks_of(target, "disk")} == {OK}


def test_a_server_that_is_not_on_this_machine_has_a_disk_that_nobody_can_see(
    database: URL, make_target: MakeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lockkeeper.postgres.databases._LOCAL_HOSTS", frozenset())
    [message] = [message for state, message in checks_of(make_target(database), "disk") if state is WARNING]
    assert message.startswith("the server's disk cannot be seen from here")
    assert "GRANT" not in message


def test_a_host_in_the_urls_query_is_the_servers_as_any_other(database: URL) -> None:
    named = database.set(host=None, port=None).update_query_dict(
        {"host": str(database.host), "port": str(database.port)}
    )
    with connect(named, "tests") as connection:
        assert is_here(connection)
        assert data_folder(connection) == Path(fetch_value(connection, "SHOW data_directory"))
    for host, pid in (("db.example.org", os.getpid()), ("127.0.0.1", os.getpid())):  # no server, ours neither
        elsewhere = SimpleNamespace(info=SimpleNamespace(host=host, backend_pid=pid))
        assert not is_here(cast(Connection, elsewhere))


def test_a_capture_is_not_begun_on_a_disk_on_which_it_would_end_itself(
    store: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert capture_readiness(store).possible
    monkeypatch.setattr("lockkeeper.recovery.capture.readiness.disk_of", lambda _: Disk(0, 2**30 - 1))
    ready = capture_readiness(store)
    assert not ready.possible
    [message] = [check.message for check in ready.checks if check.state is FAILED]
    assert "1024 MiB must stay" in message
    assert "LOCKKEEPER_HOME" in message
