"""What an operator starts later (recover, undo, clean), as the lines say that runs leave for people."""

from __future__ import annotations

import inspect
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from flows.clean_target import clean_target
from flows.recover_migration import recover_migration
from flows.undo_migration import undo_migration
from lockkeeper.renaming import RenamePolicy, make_request
from tasks.by_hand import Deployments
from tests.flows.observing import parameters_in, play, report_of, task_runs

PREFECT_YAML = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text(encoding="utf-8"))
LINES = Deployments("shop")
ADD_STATUS = "op.execute(\"ALTER TABLE users ADD COLUMN status text DEFAULT 'active'\")"
NO_WAY_BACK = "raise Exception('no way back')"
BIGINT = make_request(
    "orders",
    "id",
    "id",
    new_type="bigint",
    up="id + 1",
    down="id - 1",
    flag="big-id",
    policy=RenamePolicy.model_validate({"scream_s": 0, "throttle": {"batch_rows": 500}}),
)


@pytest.mark.parametrize(
    "line",
    [
        LINES.migrate("0815", "20261123T104500Z-1a2b3c"),
        LINES.recover(),
        LINES.restore("20261123T104500Z-1a2b3c"),
        LINES.restore("20261123T104500Z-1a2b3c", accept_loss=True),
        LINES.undo(),
        LINES.clean(),
        LINES.clean(waiting=True, quarantine="shop_lk_failed_20261123104700"),
        LINES.begin_rename(make_request("products", "description", "description_new").asked()),
        LINES.begin_rename(BIGINT.asked()),
    ],
)
def test_every_line_names_a_deployment_that_takes_its_parameters(line: str) -> None:
    words = shlex.split(line)
    assert (words[:3], words[-1]) == (["prefect", "deployment", "run"], "--watch")
    flow_name, _, deployment_name = words[3].partition("/")
    (deployment,) = [one for one in PREFECT_YAML["deployments"] if one["name"] == deployment_name]
    module, _, function = deployment["entrypoint"].rpartition(".")
    flow = getattr(import_module(module), function)
    assert flow.name == flow_name
    given = parameters_in(line)
    inspect.signature(flow.fn).bind(**given)
    assert given["target"] == "shop"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "shop",
            "4711",
            "0815",
            "1e5",
            "null",
            "true",
            "NaN",
            "Infinity",
            "-Infinity",
            "+1",
            "",
            " ",
            "a b",
        ),
        *('a"b', '"a', 'shop."Orders"', "{x", "[x", "a\\b", "ä", "a=b", "a@head", "line\nline", "'"),
    ],
)
def test_prefect_reads_a_text_in_a_line_as_what_it_was(text: str) -> None:
    assert parameters_in(Deployments(text).restore(text)) == {"target": text, "backup_id": text}


def test_a_line_that_begins_a_rename_begins_the_one_that_was_asked_for() -> None:
    """Begun without its type, say, it would be another change, and nobody would be told."""
    values = parameters_in(LINES.begin_rename(BIGINT.asked()))
    policy = RenamePolicy.model_validate(values.pop("policy"))
    columns = [values.pop(name) for name in ("table", "old_column", "new_column")]
    assert values.pop("target") == "shop"
    assert make_request(*columns, policy=policy, **values) == BIGINT


def test_what_waits_or_has_begun_is_answered_and_not_begun_once_more() -> None:
    waiting = Deployments("shop", "0b5e")
    assert waiting.approve_rename("flip", BIGINT.asked()) == 'lockkeeper approve 0b5e --reason "..."'
    assert LINES.approve_rename("flip", BIGINT.asked()) == LINES.begin_rename(BIGINT.asked()), (
        "a script's run does not wait"
    )
    answer, _, start = waiting.abort_rename(BIGINT.asked()).splitlines()
    assert (answer, start) == ('lockkeeper abort RUN --reason "..."', LINES.begin_rename(BIGINT.asked()))


def test_a_plain_name_stands_in_a_line_as_it_is() -> None:
    line = Deployments("shop").migrate("ae1027a6acf", "r1")
    assert "-p target=shop -p revision=ae1027a6acf" in line


def test_a_captured_migration_left_to_a_human_is_taken_back_with_every_write_since(make_shop, api) -> None:
    shop = make_shop(policies={"capture": "auto", "rehearsal": "off", "recovery": "manual"})
    shop.add_revision("r1", 'op.execute("UPDATE users SET balance = 0")', NO_WAY_BACK)
    shop.add_rule("balances", "SELECT id FROM users WHERE balance = 0")
    failed = play(shop.name)
    assert failed.name == "NeedsHuman"
    assert Deployments(shop.name).recover() in str(failed.message)
    shop.execute("INSERT INTO users VALUES (5000, 'acknowledged@example.org', 1)")

    state = recover_migration(shop.name, return_state=True)

    assert state.is_completed(), state.message
    assert shop.query("SELECT count(*), sum(balance) FROM users") == [(201, 20101)]
    assert task_runs(api, state)["warm-swap"] == "Completed"
    assert "warm swap" in report_of(api, state)


def test_a_migration_is_undone_while_its_copy_is_kept_and_cleaning_leaves_that_alone(make_shop, api) -> None:
    policies = {"capture": "auto", "rehearsal": "off", "bake_time_s": 600}
    shop = make_shop(policies=policies)
    shop.add_revision("r1", ADD_STATUS, NO_WAY_BACK)
    assert play(shop.name).is_completed()
    shop.execute("INSERT INTO users VALUES (5000, 'acknowledged@example.org', 1)")
    assert clean_target(shop.name, return_state=True).is_completed()

    state = undo_migration(shop.name, return_state=True)

    assert state.is_completed(), state.message
    assert shop.columns() == ["balance", "email", "id"]
    assert shop.query("SELECT count(*) FROM users") == [(201,)]
    assert task_runs(api, state)["undo"] == "Completed"
