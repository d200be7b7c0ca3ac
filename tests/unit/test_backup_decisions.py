"""Decisions of backup, storage and recovery that need neither a database nor a storage."""

from __future__ import annotations

import hashlib
import io
import itertools
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Literal

import pytest

from lockkeeper.backup.archive import (
    RestoreOptions,
    listed_subscriptions,
    memory_option,
    others_and_last,
    pg_restore_cmd,
    wanted_entries,
)
from lockkeeper.backup.dump import pg_dump_cmd, pg_dumpall_roles_cmd
from lockkeeper.backup.manifest import ALLOWED_TRANSITIONS, dump_key, id_time, new_backup_id, transition
from lockkeeper.backup.retention import expirable
from lockkeeper.errors import BackupError, StorageError
from lockkeeper.models import BackupManifest, BackupState, DataFingerprint, TableFingerprint
from lockkeeper.postgres.clients import ClientPrograms, fits
from lockkeeper.postgres.databases import Note, quarantine_name
from lockkeeper.postgres.properties import split_list
from lockkeeper.recovery.sequences import SequenceState, is_ahead
from lockkeeper.recovery.write_proof import TableEvidence, gap
from lockkeeper.storage import parts
from lockkeeper.storage.parts import close_part, regroup, regroup_in_files, size_of
from lockkeeper.storage.s3 import (
    LARGEST_PART_BYTES,
    MAX_PARTS,
    MIB,
    SMALLEST_PART_BYTES,
    part_bytes,
)

BIN = Path("/opt/pg/bin")
PROGRAMS = ClientPrograms(BIN / "pg_dump", BIN / "pg_restore", BIN / "pg_dumpall", BIN / "psql", "16.14")
NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)


def manifest(state: BackupState, age_days: float = 0.0, **changes) -> BackupManifest:
    at = NOW - timedelta(days=age_days)
    facts = {"id": new_backup_id(at), "target": "shop", "database": "shop", "state": state}
    return BackupManifest(
        **{**facts, "created_at": at, "updated_at": at, "server_version_num": 160000, **changes}
    )


# --- argv


@pytest.mark.parametrize(
    ("part", "how"),
    [
        ("schema", ["--format=custom", "--compress=0", "--section=pre-data", "--section=post-data"]),
        ("data", ["--format=plain", "--section=data"]),
    ],
)
def test_pg_dump_is_told_the_snapshot_and_nothing_secret(part: Literal["schema", "data"], how: list[str]):
    assert pg_dump_cmd(PROGRAMS, part, "00000003-1") == [
        "/opt/pg/bin/pg_dump", *how, "--snapshot=00000003-1", "--no-password", "--lock-wait-timeout=60000",
    ]  # fmt: skip


def test_roles_are_dumped_without_passwords():
    assert "--no-role-passwords" in pg_dumpall_roles_cmd(PROGRAMS, "postgres")


def test_pg_restore_makes_indexes_in_parallel_from_the_head_of_an_archive():
    argv = pg_restore_cmd(
        PROGRAMS, "post-data", "shop", RestoreOptions(4, True, True), "/proc/self/fd/9", "rest"
    )
    assert argv == [
        "/opt/pg/bin/pg_restore", "--format=custom", "--section=post-data", "--exit-on-error",
        "--no-password", "--no-subscriptions", "--use-list=rest", "--dbname=dbname='shop'", "--jobs=4",
        "/proc/self/fd/9",
    ]  # fmt: skip


def test_pg_restore_makes_tables_one_by_one_and_leaves_unknown_tablespaces_out():
    argv = pg_restore_cmd(PROGRAMS, "pre-data", "a='b\\", RestoreOptions(4, False, False), "head", "entries")
    assert argv[-4:] == ["--use-list=entries", r"--dbname=dbname='a=\'b\\'", "--no-tablespaces", "head"]


def test_an_ordinary_role_does_not_comment_on_extensions():
    listing = "5; 3079 1 EXTENSION - citext \n6; 0 0 COMMENT - EXTENSION citext \n"
    first, second = listing.splitlines()
    assert wanted_entries(listing, superuser=False) == [first]
    assert wanted_entries(listing, superuser=True) == [first, second]


def test_foreign_keys_and_event_triggers_come_last_with_their_comments():
    others = [
        "3340; 2606 16411 CONSTRAINT public orders orders_pkey shop",
        "3341; 1259 16420 INDEX public orders FK CONSTRAINT shop",
        "3342; 0 0 COMMENT public INDEX orders_at_idx shop",
        ";",
    ]
    last = [
        "3345; 2606 16413 FK CONSTRAINT public orders orders_user_id_fkey shop",
        "3346; 0 0 COMMENT my schema CONSTRAINT orders_user_id_fkey ON orders shop",
        "3200; 3466 16500 EVENT TRIGGER - log_ddl shop",
        "3347; 0 0 COMMENT - EVENT TRIGGER log_ddl shop",
    ]
    assert others_and_last([*others, *last]) == (others, last)


@pytest.mark.parametrize(
    ("rows", "sort_mb", "hash_mb"),
    [(0, 8, 1), (2_272_724, 10, 1), (10_000_000, 45, 1), (100_000_000, 128, 17), (10**10, 128, 128)],
)
def test_memory_is_split_into_parts_that_fit_the_cache(rows: int, sort_mb: int, hash_mb: int):
    table = TableFingerprint(table="public.t", rows=rows, digest="")
    content = DataFingerprint(tables={"public.t": table})
    backup = manifest(BackupState.UPLOADED, data_fingerprint=content)
    assert memory_option(backup, 10, 8) == f"-c maintenance_work_mem={sort_mb}MB"
    assert memory_option(backup, 256, 1) == f"-c maintenance_work_mem={hash_mb}MB"


def test_subscriptions_of_an_archive_are_found():
    assert listed_subscriptions("9; 6100 1 SUBSCRIPTION - feed postgres\n1; 0 0 TABLE public t x") == ["feed"]


@pytest.mark.parametrize(
    ("client", "server", "good"),
    [(16, 14, True), (16, 16, True), (15, 16, False), (18, 17, True), (18, 16, False), (17, 18, False)],
)
def test_client_programs_fit_when_not_older_and_on_the_same_side_of_17(client, server, good):
    assert fits(client, server) is good


# --- manifest


def test_ids_sort_by_time_and_tell_it():
    earlier, later = new_backup_id(NOW), new_backup_id(NOW + timedelta(seconds=1))
    assert earlier < later
    assert id_time(earlier) == NOW
    assert id_time("../escape") is None
    assert dump_key("shop", earlier) == f"shop/backups/{earlier}/dump.zst"


@pytest.mark.parametrize(("before", "after"), list(itertools.product(BackupState, BackupState)))
def test_only_the_listed_transitions_are_possible(before, after):
    if (before, after) in ALLOWED_TRANSITIONS:
        assert transition(manifest(before), after).state is after
    else:
        with pytest.raises(BackupError, match="cannot become"):
            transition(manifest(before), after)


def test_a_failed_or_expired_backup_never_becomes_verified():
    assert (
        not {(s, BackupState.VERIFIED) for s in (BackupState.FAILED, BackupState.EXPIRED)}
        & ALLOWED_TRANSITIONS
    )


# --- retention


def ids(manifests):
    return [item.id for item in manifests]


def test_the_newest_verified_backups_are_kept_whatever_their_age():
    backups = [manifest(BackupState.VERIFIED, age) for age in (100, 90, 80)]
    assert ids(expirable(backups, now=NOW, keep_count=2, keep_days=30)) == [backups[0].id]
    assert expirable(backups[:1], now=NOW, keep_count=0, keep_days=0) == []


def test_failed_backups_do_not_push_verified_ones_out():
    good, bad = manifest(BackupState.VERIFIED, 90), [manifest(BackupState.FAILED, 40 + i) for i in range(5)]
    gone = expirable([good, *bad], now=NOW, keep_count=1, keep_days=30)
    assert sorted(ids(gone)) == sorted(ids(bad))


def test_young_and_working_backups_are_kept():
    backups = [manifest(BackupState.VERIFIED, 50), manifest(BackupState.FAILED, 3)]
    working = manifest(BackupState.STARTED, 60, updated_at=NOW)
    dead = manifest(BackupState.STARTED, 60)
    gone = expirable([*backups, working, dead], now=NOW, keep_count=1, keep_days=30)
    assert ids(gone) == [dead.id]


# --- the proof that nobody wrote


def test_counters_that_equal_the_migrations_own_prove_a_table():
    assert gap(TableEvidence("t", counted=(0, 0, 0))) is None
    assert gap(TableEvidence("t", counted=(5, 1, 0), own=(5, 1, 0))) is None


def test_one_foreign_write_is_a_finding_that_names_it():
    finding = gap(TableEvidence("public.users", counted=(5, 2, 0), own=(5, 1, 0)))
    assert finding is not None
    assert "public.users" in finding
    assert "1 updated" in finding


def test_equal_content_proves_a_table_whatever_was_counted():
    assert gap(TableEvidence("t", counted=(5, 0, 5), content_equal=True)) is None
    assert gap(TableEvidence("t", counted=None, content_equal=True)) is None


def test_unknown_counters_prove_nothing():
    finding = gap(TableEvidence("t", counted=None, content_equal=False))
    assert finding is not None
    assert "cannot tell" in finding


def test_a_truncate_is_noticed_though_no_counter_moves():
    truncated = TableEvidence("t", counted=(0, 0, 0), same_file=False, rows_before=7, rows=0)
    rewritten = truncated._replace(rows=7)
    assert "truncated" in str(gap(truncated))
    assert gap(rewritten) is None


def test_own_writes_and_another_file_together_need_equal_content():
    evidence = TableEvidence("t", counted=(7, 0, 0), own=(7, 0, 0), same_file=False, rows_before=7, rows=7)
    assert gap(evidence) is not None
    assert gap(evidence._replace(content_equal=True)) is None


def test_a_dropped_table_cannot_be_proven():
    assert "dropped" in str(gap(TableEvidence("t", exists=False, counted=None)))


def test_a_new_table_is_proven_by_own_rows_or_by_having_none():
    new = TableEvidence("t", in_backup=False, same_file=False, counted=(3, 0, 0))
    assert gap(new._replace(own=(3, 0, 0))) is None
    assert gap(new._replace(rows=0)) is None
    assert "3 inserted" in str(gap(new._replace(rows=1)))


@pytest.mark.parametrize(
    ("live", "copy", "ahead"),
    [
        (SequenceState(10, True, 1, False), SequenceState(9, True, 1, False), True),
        (SequenceState(9, True, 1, False), SequenceState(9, False, 1, False), True),
        (SequenceState(9, True, 1, False), SequenceState(10, True, 1, False), False),
        (SequenceState(-9, True, -1, False), SequenceState(-8, True, -1, False), True),
        (SequenceState(1, True, 1, True), SequenceState(9, True, 1, True), True),
        (SequenceState(5, True, 1, True), SequenceState(5, True, 1, True), False),
    ],
)
def test_sequences_only_go_forward(live, copy, ahead):
    assert is_ahead(live, copy) is ahead


# --- databases and storage


def test_quarantine_names_fit_and_say_when():
    assert quarantine_name("shop", NOW) == "shop_lk_failed_20261123120000"
    assert len(quarantine_name("ä" * 40, NOW).encode()) <= 63


def test_somebody_elses_comment_is_not_a_note():
    assert Note.parse("the shop's database") is None
    assert Note.parse('{"lockkeeper": 1}') is None


@pytest.mark.parametrize(
    ("stored", "elements"),
    [('"$user", public', ["$user", "public"]), ('"a""b",c', ['a"b', "c"]), ('""', [""]), ("", [""])],
)
def test_lists_of_names_are_split_as_they_are_stored(stored, elements):
    assert split_list(stored) == elements


@pytest.mark.parametrize("expected", [None, 0, 10**9, 10**11, 10**13])
def test_parts_hold_half_as_much_again_as_expected_within_bounds(expected):
    size = part_bytes(expected)
    assert SMALLEST_PART_BYTES <= size <= LARGEST_PART_BYTES
    assert size % MIB == 0
    if size < LARGEST_PART_BYTES:
        assert size * MAX_PARTS >= (expected or 0) * 3 // 2


@pytest.mark.parametrize("cut", [regroup, regroup_in_files])
def test_regrouped_parts_are_the_same_bytes(cut):
    def contents(chunks, size):
        for part in cut(iter(chunks), size):
            length = size_of(part)
            data = part if isinstance(part, bytes) else part.read()
            assert len(data) == length
            close_part(part)
            yield data

    chunks = [bytes([i]) * (i * 37) for i in range(60)]
    cut_up = list(contents(chunks, 1000))
    assert {len(part) for part in cut_up[:-1]} == {1000}
    assert hashlib.sha256(b"".join(cut_up)).digest() == hashlib.sha256(b"".join(chunks)).digest()
    assert list(contents([], 1000)) == [b""]
    assert list(contents([b"x" * 2000], 1000)) == [b"x" * 1000] * 2


def test_parts_that_find_no_room_are_an_error_that_says_where(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(StorageError, match=r"gone: No such file or directory\. Make room .*TMPDIR"):
        next(regroup_in_files(iter([b"x"]), 1000))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(parts.tempfile, "TemporaryFile", lambda buffering: io.FileIO("/dev/full", "w"))
    with pytest.raises(StorageError, match="No space left on device"):
        next(regroup_in_files(iter([b"x"]), 1000))
