"""What captures of lost machines and killed sessions leave: found, listed, and removed without harm."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lockkeeper.config import Target
from lockkeeper.errors import StorageError
from lockkeeper.home import HOME_VARIABLE
from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.postgres.connection import connect, execute, fetch_all
from lockkeeper.recovery import remains as remains_module
from lockkeeper.recovery.capture import (
    find_captures,
    own_session_statements,
)
from lockkeeper.recovery.capture.files import captures_home
from lockkeeper.recovery.capture.orphans import drop_orphan, find_orphans
from lockkeeper.recovery.remains import find_remains, remove_remains
from tests.integration.capture_story import begin, eventually, identities, kill, left_on_server

pytestmark = pytest.mark.usefixtures("capture_home")


def test_orphans_are_found_by_name_and_removed_without_their_folder(store: Target) -> None:
    capture = begin(store)
    with connect(store.url, "tests") as connection:
        for statement in own_session_statements(capture.record):
            fetch_all(connection, statement)
    kill(capture.folder, "capture")
    found = find_orphans(store)
    assert [orphan.kind for orphan in found] == ["slot", "publication", "origin"]
    assert found[1].run_id == capture.record.run_id
    assert identities(store) == {"f"}
    for orphan in found:
        drop_orphan(store, orphan)
        drop_orphan(store, orphan)
    assert (left_on_server(store), identities(store)) == ([], {"d"})


def test_an_origin_that_a_killed_session_still_uses_is_dropped_when_it_is_gone(store: Target) -> None:
    capture = begin(store)
    with connect(store.url, "migrate") as migration:
        for statement in own_session_statements(capture.record):
            execute(migration, statement)
        leaving = threading.Timer(1.0, migration.close)
        leaving.start()
        assert capture.end(store, "done") == []
        leaving.join()
    assert left_on_server(store) == []


def lost_machine(store: Target, folder: Path) -> list[str]:
    """Capture with an origin and something stored, then lose the machine's folder; returns what is left."""
    capture = begin(store)
    with connect(store.url, "tests") as connection:
        for statement in own_session_statements(capture.record):
            fetch_all(connection, statement)
    kill(capture.folder, "capture")
    eventually(lambda: not any(one.active for one in find_orphans(store)), "the server sees that it is gone")
    capture.folder.rename(folder)
    return ["slot", "publication", "origin", "stored spool"]


def test_what_a_lost_machine_has_left_is_listed_and_cleaned_and_twice_does_no_harm(
    store: Target, tmp_path: Path
) -> None:
    kinds = lost_machine(store, tmp_path / "lost")
    assert [one.kind for one in find_remains(store)] == kinds
    removed, problems = remove_remains(store, "cleaning")
    assert ([line.rpartition(" ")[0] for line in removed], problems) == (kinds, [])
    assert (find_remains(store), left_on_server(store), identities(store)) == (
        [],
        [],
        {"d"},
    )
    assert remove_remains(store, "cleaning") == ([], [])


def test_what_a_living_capture_of_another_machine_uses_stays_unless_asked_for(
    store: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(store)
    here = tmp_path / "home"
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "elsewhere"))
    assert [(one.kind, one.kept) for one in find_remains(store)] == [
        ("slot", True),
        ("publication", True),
        ("stored spool", True),
    ]
    assert remove_remains(store, "cleaning") == ([], [])
    monkeypatch.setenv(HOME_VARIABLE, str(here))
    find_captures(store)[0].require_alive()


def test_an_origin_of_a_capture_of_another_database_is_not_ours(
    server: EmbeddedPostgres, store_on: Callable[..., Target], tmp_path: Path
) -> None:
    mine, theirs = store_on(server), store_on(server)
    lost_machine(theirs, tmp_path / "lost")
    assert [one.kind for one in find_remains(mine) if one.kind != "stored spool"] == []
    remove_remains(theirs, "cleaning")


def test_a_folder_without_a_readable_capture_is_a_spool_that_can_go(store: Target) -> None:
    folder = captures_home() / store.name / "20261126T100000Z-torn"
    folder.mkdir(parents=True)
    (folder / "capture.json").write_text("{")
    (one,) = find_remains(store)
    assert (one.kind, one.kept) == ("spool", False)
    assert "damaged" in one.description
    assert remove_remains(store, "cleaning") == (["spool 20261126T100000Z-torn"], [])
    assert not folder.exists()


def test_a_storage_that_is_down_does_not_keep_a_slot_from_being_dropped(
    store: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost_machine(store, tmp_path / "lost")

    def unreadable(target: Target) -> list[str]:
        raise StorageError("the storage is down", target.name)

    monkeypatch.setattr(remains_module, "stored_captures", unreadable)
    removed, problems = remove_remains(store, "cleaning")
    assert ([line.rpartition(" ")[0] for line in removed], problems) == (
        ["slot", "publication", "origin"],
        [],
    )
    (left,) = find_remains(store)
    assert (left.kind, left.kept) == ("stored spool", True)
    assert "the storage is down" in left.description
