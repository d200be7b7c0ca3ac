"""Which tables are captured and how, when a capture ends itself, what a server must be able to do."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import SecretStr

from lockkeeper.config import LocalStorageSettings, S3StorageSettings, Target
from lockkeeper.models import CheckState, utc_now
from lockkeeper.recovery import hand_over
from lockkeeper.recovery.capture.limits import EXPIRED, Measured, reason_to_end
from lockkeeper.recovery.capture.models import CaptureLimits, CaptureRecord
from lockkeeper.recovery.capture.names import origin_name, slot_name
from lockkeeper.recovery.capture.own import own_session_statements, own_transaction_statements
from lockkeeper.recovery.capture.readiness import judge_server, judge_tables
from lockkeeper.recovery.capture.tables import TableFacts, choose_tables

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=timezone.utc)


def table(oid: int, name: str, **changes: Any) -> TableFacts:
    column = {"name": "id", "number": 1, "type_oid": 23, "typmod": -1}
    facts = TableFacts(
        oid, "public", name, f"public.{name}", is_root=False, is_unlogged=False, is_owned=True,
        former_identity="DEFAULT", has_primary_key=True, root_oid=None, has_virtual_columns=False,
        columns=(column,),
    )  # fmt: skip
    return facts._replace(**changes)


def test_plain_tables_are_captured_with_whole_before_images() -> None:
    choice = choose_tables([table(1, "a"), table(2, "b", has_primary_key=False)])
    assert choice.published == ("ONLY public.a", "ONLY public.b")
    assert [each.full for each in choice.tables] == [True, True]
    assert choice.outside == ()


@pytest.mark.parametrize(
    ("changes", "refused", "reason"),
    [
        ({"is_unlogged": True}, (), "unlogged"),
        ({"is_owned": False}, (), "own"),
        ({"has_virtual_columns": True, "has_primary_key": False}, (), "virtual"),
        ({"has_primary_key": False}, (1,), "locks"),
        ({"former_identity": "NOTHING"}, (1,), "locks"),
    ],
)
def test_what_cannot_be_captured_is_named_with_its_reason(
    changes: dict[str, Any], refused: tuple[int, ...], reason: str
) -> None:
    choice = choose_tables([table(1, "a", **changes)], refused)
    assert choice.tables == ()
    assert choice.published == ()
    assert reason in choice.outside[0].reason


def test_a_key_is_enough_where_before_images_are_not_to_be_had() -> None:
    virtual = table(1, "a", has_virtual_columns=True)
    choice = choose_tables([virtual, table(2, "b"), table(3, "c", former_identity="USING INDEX i")], [2, 3])
    assert [each.full for each in choice.tables] == [False, False, False]
    assert choice.outside == ()


def test_a_root_is_published_whole_only_when_its_new_partitions_will_have_a_key() -> None:
    root, leaf = table(1, "r", is_root=True), table(2, "r_1", root_oid=1)
    assert choose_tables([root, leaf]).published == ("public.r",)
    keyless = [root._replace(has_primary_key=False), leaf._replace(has_primary_key=False)]
    assert choose_tables(keyless).published == ("ONLY public.r_1",)


LIMITS = CaptureLimits(retained_wal_bytes=1000, spool_bytes=1000, free_disk_bytes=100)


@pytest.mark.parametrize(
    ("measured", "reason"),
    [
        (Measured(NOW, 1000, 100, 900), None),
        (Measured(NOW, 1000, 100, None), None),
        (Measured(NOW, 1001, 100, 0), "spool"),
        (Measured(NOW, 0, 99, 0), "disk"),
        (Measured(NOW, 0, 100, 901), "WAL"),
    ],
)
def test_a_capture_ends_itself_at_each_of_its_limits(measured: Measured, reason: str | None) -> None:
    said = reason_to_end(LIMITS, None, measured)
    assert (said is None) if reason is None else (said is not None and reason in said)


def test_a_capture_ends_when_its_time_is_over() -> None:
    fine = Measured(NOW, 0, 1000, 0)
    assert reason_to_end(LIMITS, NOW, fine) == EXPIRED
    assert reason_to_end(LIMITS, NOW + timedelta(seconds=1), fine) is None


ABLE = {
    "wal_level": "logical", "may_replicate": True, "may_publish": True, "free_slots": 1, "free_senders": 2,
    "keep_size_mb": 1024, "prepared": 0, "old_writer_s": None, "large_objects": False,
    "may_silence_triggers": True, "is_standby": False, "role": "app", "database": '"My shop"',
}  # fmt: skip


def test_a_server_that_can_is_said_to() -> None:
    assert [check.state for check in judge_server(ABLE, 60)] == [CheckState.OK]


@pytest.mark.parametrize(
    ("fact", "value", "said"),
    [
        ("wal_level", "replica", "wal_level"),
        ("may_replicate", False, "ALTER ROLE app REPLICATION"),
        ("may_publish", False, 'GRANT CREATE ON DATABASE "My shop" TO app'),
        ("free_slots", 0, "max_replication_slots"),
        ("free_senders", 1, "max_wal_senders"),
        ("prepared", 2, "2 prepared"),
        ("old_writer_s", 61.0, "61 s"),
        ("may_silence_triggers", False, "GRANT SET ON PARAMETER session_replication_role TO app"),
        ("is_standby", True, "standby"),
    ],
)
def test_each_thing_that_forbids_a_capture_is_refused_with_its_remedy(
    fact: str, value: object, said: str
) -> None:
    checks = [check for check in judge_server({**ABLE, fact: value}, 60) if check.refuses]
    assert len(checks) == 1
    assert said in checks[0].message


def test_an_unbounded_slot_is_a_warning_and_tables_outside_are_named() -> None:
    (check,) = judge_server({**ABLE, "keep_size_mb": -1}, 60)
    assert check.state is CheckState.WARNING
    choice = choose_tables([table(n, f"t{n}", is_unlogged=True) for n in range(8)])
    outside, large, covered = judge_tables(choice, {**ABLE, "large_objects": True})
    assert "public.t0" in outside.message
    assert "and 3 more" in outside.message
    assert "large objects" in large.message
    assert covered.state is CheckState.OK


def record(marks: str) -> CaptureRecord:
    return CaptureRecord(
        run_id="20261126T100000Z-AB'c", target="shop", database="shop", slot="lockkeeper_x",
        publication="lockkeeper_x", server_version_num=160000, marks=marks, created_at=utc_now(),
        limits=LIMITS,
    )  # fmt: skip


def test_names_lead_back_to_the_run_and_fit_the_server() -> None:
    assert slot_name("20261126T100000Z-1a2b3c") == "lockkeeper_20261126t100000z_1a2b3c"
    assert len(origin_name(slot_name("x" * 200), 999)) <= 63


def test_the_migrations_sessions_are_marked_by_one_way_or_the_other() -> None:
    create, set_up = own_session_statements(record("origin"), 2)
    assert "lockkeeper_x_2" in create
    assert "session_setup('lockkeeper_x_2')" in set_up
    assert own_transaction_statements(record("origin")) == []
    assert own_session_statements(record("message")) == []
    (message,) = own_transaction_statements(record("message"))
    assert "AB''c" in message


def test_a_target_is_handed_over_whole_and_only_by_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(hand_over, "start_daemon", lambda argv, log, **more: seen.update(argv=argv, **more))
    storage = S3StorageSettings(
        bucket="kept", access_key_id=SecretStr("key-id"), secret_access_key=SecretStr("s3cr")
    )
    target = Target(name="shop", database_url=SecretStr("postgresql://u:pass-word@h:5/d"), storage=storage)
    hand_over.start_worker("lockkeeper.recovery.capture.worker", target, tmp_path, copy_database="c")
    assert "pass-word" not in " ".join(seen["argv"])
    monkeypatch.setenv(hand_over.JOB_VARIABLE, seen["env"][hand_over.JOB_VARIABLE])
    received, folder, more = hand_over.received_job()
    assert (received.url, received.storage, folder, more) == (
        target.url,
        storage,
        tmp_path,
        {"copy_database": "c"},
    )
    assert hand_over.JOB_VARIABLE not in hand_over.os.environ
    local = target.model_copy(update={"storage": LocalStorageSettings(path=tmp_path)})
    hand_over.start_worker("lockkeeper.recovery.capture.worker", local, tmp_path)
    monkeypatch.setenv(hand_over.JOB_VARIABLE, seen["env"][hand_over.JOB_VARIABLE])
    assert hand_over.received_job()[0].storage == local.storage


def test_tables_that_keep_their_own_identity_are_named_in_preflight() -> None:
    choice = choose_tables([table(1, "virtual", has_virtual_columns=True), table(2, "plain")])
    weaker, covered = judge_tables(choice, {**ABLE, "large_objects": False})
    assert (weaker.state, covered.state) == (CheckState.WARNING, CheckState.OK)
    assert "public.virtual: a virtual generated column" in weaker.message
    assert "plain" not in weaker.message
