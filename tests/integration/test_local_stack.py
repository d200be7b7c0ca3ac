"""The embedded stack: one with Prefect for the whole module, since its server takes 20 s to start."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from lockkeeper.errors import ConfigurationError
from lockkeeper.local import daemons
from lockkeeper.local.stack import StackState, load_stack, start_stack, stop_stack

ALL = {"postgres", "s3", "prefect", "worker"}


@pytest.fixture(scope="module")
def stack(server_folder: Path) -> Iterator[StackState]:
    """A running stack whose favourite Prefect port is taken by somebody else."""
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if daemons.port_is_free(4200):
            stranger.bind(("127.0.0.1", 4200))
            stranger.listen()
        state = start_stack(server_folder / "stack", working_dir=server_folder)
    yield state
    stop_stack(state.folder)


@pytest.fixture
def small_stack(server_folder: Path) -> Iterator[StackState]:
    """A running stack without Prefect, of one test."""
    state = start_stack(server_folder / "small", prefect=False)
    yield state
    stop_stack(state.folder)
    shutil.rmtree(state.folder)


def ask_postgres(state: StackState, query: str) -> object:
    connection = psycopg2.connect(state.database_url().render_as_string(hide_password=False))
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()[0]
    finally:
        connection.close()


def test_everything_runs_although_a_port_was_taken(stack: StackState) -> None:
    assert stack.running() == dict.fromkeys(ALL, True)
    assert stack.prefect_port != 4200
    assert ask_postgres(stack, "SELECT 1") == 1
    assert stack.s3().answers()
    prefect = stack.prefect()
    assert prefect.answers()
    assert prefect.online_workers()


def test_up_twice_keeps_what_runs(stack: StackState) -> None:
    again = start_stack(stack.folder)
    assert again.processes == stack.processes
    assert again.prefect_port == stack.prefect_port


def test_the_ui_with_resume_is_the_one_that_opens(stack: StackState) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", stack.prefect_port, timeout=30)
    connection.request("GET", "/ui-settings")
    assert b'"default_ui":"v1"' in connection.getresponse().read()
    connection.close()


def test_passwords_are_in_one_file_that_only_the_owner_reads(stack: StackState) -> None:
    secrets = [stack.postgres_password, stack.s3_secret_access_key]
    assert stat.S_IMODE((stack.folder / "stack.json").stat().st_mode) == 0o600
    for log in stack.folder.glob("*.log"):
        assert not any(secret in log.read_text() for secret in secrets)
    for process in stack.processes.values():
        argv = Path(f"/proc/{process.pid}/cmdline").read_text()
        assert not any(secret in argv for secret in secrets)
    assert not any(secret in repr(stack) for secret in secrets)


def test_the_worker_stops_on_sigterm_and_up_brings_it_back(stack: StackState) -> None:
    started = time.monotonic()
    assert daemons.end_process(stack.processes["worker"], grace_s=60)
    assert time.monotonic() - started < 60, "SIGTERM was not enough"
    assert not load_stack(stack.folder).running()["worker"]
    again = start_stack(stack.folder)
    assert again.running() == dict.fromkeys(ALL, True)
    assert again.processes["worker"] != stack.processes["worker"]
    assert again.processes["prefect"] == stack.processes["prefect"]


def test_data_passwords_and_ports_survive_down_and_up(small_stack: StackState) -> None:
    system = ask_postgres(small_stack, "SELECT system_identifier FROM pg_control_system()")
    assert stop_stack(small_stack.folder) == ["s3", "postgres"]
    assert stop_stack(small_stack.folder) == []
    again = start_stack(small_stack.folder, prefect=False)
    assert ask_postgres(again, "SELECT system_identifier FROM pg_control_system()") == system
    assert again.storage() == small_stack.storage()


def test_a_state_from_before_a_reboot_ends_no_stranger(small_stack: StackState) -> None:
    stop_stack(small_stack.folder)
    stranger = daemons.start_daemon(["sleep", "60"], small_stack.folder / "sleep.log")
    old = stranger.model_copy(update={"boot_id": "another boot"})
    small_stack.processes = dict.fromkeys(ALL, old)
    small_stack.save()
    (small_stack.postgres_data / "postmaster.pid").write_text(f"{stranger.pid}\n")

    assert stop_stack(small_stack.folder) == []
    assert daemons.is_running(stranger)

    (small_stack.postgres_data / "postmaster.pid").write_text(f"{stranger.pid}\n")
    again = start_stack(small_stack.folder, prefect=False)
    assert again.running() == {"postgres": True, "s3": True}
    assert daemons.is_running(stranger)
    daemons.end_process(stranger)


def test_a_server_killed_alone_is_started_again(small_stack: StackState) -> None:
    small_stack.s3().settings("kept")
    daemons.end_process(small_stack.processes["s3"], grace_s=0)
    again = start_stack(small_stack.folder, prefect=False)
    assert again.running() == {"postgres": True, "s3": True}
    assert again.processes["postgres"] == small_stack.processes["postgres"]
    assert again.s3().answers()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs as somebody else")
def test_root_may_keep_the_stack_where_nobody_else_can_look(server_folder: Path) -> None:
    closed = server_folder / "closed"
    closed.mkdir(mode=0o700)
    state = start_stack(closed / "stack", prefect=False)
    try:
        assert ask_postgres(state, "SELECT 1") == 1
    finally:
        stop_stack(state.folder)
        shutil.rmtree(state.postgres_data.parent)


def test_down_without_a_stack_says_how_to_start_one(server_folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="lockkeeper up"):
        stop_stack(server_folder / "nothing")
    assert not (server_folder / "nothing").exists()


def test_a_pid_alone_is_not_an_identity() -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        identity = daemons.identify(other.pid)
        assert daemons.is_running(identity)
        earlier = identity.model_copy(update={"started": "another moment"})
        assert not daemons.is_running(earlier)
        assert not daemons.end_process(earlier)
        assert other.poll() is None
        other.kill()
