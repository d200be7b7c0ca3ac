"""The lines that Lockkeeper leaves for people mean, when they are parsed again, what the run was given."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from psycopg2.extensions import parse_dsn

from lockkeeper.backup_kinds import Instance
from lockkeeper.by_hand import CommandLine
from lockkeeper.cli import rename
from lockkeeper.cli.by_hand import command_line
from lockkeeper.cli.main import app
from lockkeeper.cli.options import TargetOptions
from lockkeeper.cli.selection import entry_from_options
from lockkeeper.errors import ConfigurationError
from lockkeeper.models import BackupState, Outcome, RestoreReport, utc_now
from lockkeeper.operations import run_restore
from lockkeeper.recovery.capture.files import captures_home
from lockkeeper.registry import registry_path
from lockkeeper.renaming import RenamePolicy, RenameRequest, make_request
from lockkeeper.runbook import MigrationRequest

EVERYTHING = TargetOptions(
    database_url_env="SHOP_URL",
    database_url="postgresql://owner@db.example/my shop",
    alembic=Path("the project/alembic.ini"),
    storage="s3://bucket/pre'fix",
    scratch_url_env="SCRATCH_URL",
    s3_endpoint_url="https://s3.example/?a=1&b=2",
    s3_region="eu-1",
    s3_access_key_id_env="KEY_ID",
    s3_secret_access_key_env="SECRET",
    slack_webhook_env="SLACK",
    alert_webhook_env="ALERTS",
    python=Path("/srv/venv/bin/python"),
    working_dir=Path("."),
    ini_section="shop",
    url_env="DATABASE_URL",
    driver="asyncpg",
    x=["tenant=a b", "url={url}"],
    env_from=["APP_ENV", "HOME"],
    rules=Path("rules"),
    client_bin_dir=Path("/usr/lib/postgresql/18/bin"),
    maintenance_database="$postgres",
    set=["recovery=manual", "impact_probe_sql=SELECT 'x'"],
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("LOCKKEEPER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parsed(line: str) -> dict[str, Any]:
    """Parse a line as a shell and the program do."""
    program, name, *arguments = shlex.split(line)
    assert program == "lockkeeper"
    command: Any = typer.main.get_command(app)
    return dict(command.commands[name].make_context(name, arguments).params)


def test_every_option_that_a_target_was_described_with_comes_back(elsewhere: Path) -> None:
    assert all(getattr(EVERYTHING, one.name) for one in dataclasses.fields(EVERYTHING)), "add the new one"
    facts = parsed(command_line("shop", EVERYTHING).restore("b1", accept_loss=True))
    assert (facts["target"], facts["backup_id"], facts["accept_loss"]) == ("shop", "b1", True)
    for one in dataclasses.fields(EVERYTHING):
        given, found = getattr(EVERYTHING, one.name), facts[one.name]
        wanted = (elsewhere / given).absolute() if isinstance(given, Path) else given
        wanted = ["tenant=...", "url={url}"] if one.name == "x" else wanted
        assert (Path(found) if isinstance(given, Path) else found) == wanted, one.name


@pytest.mark.parametrize("handed", ["key=s3cr3t", "key=s3cr3t{url}", "key = s3cr3t=s3cr3t"])
def test_what_may_be_a_secret_is_in_no_line_which_is_refused_without_it(handed: str, elsewhere: Path) -> None:
    (elsewhere / "alembic.ini").touch()
    options = TargetOptions(database_url_env="U", alembic=Path("alembic.ini"), storage="kept", x=[handed])
    line = command_line("shop", options).recover()
    assert "s3cr3t" not in line
    copied = dataclasses.replace(options, x=parsed(line)["x"])
    with pytest.raises(ConfigurationError, match="The value of --x key is not in the printed line"):
        entry_from_options(copied)


def test_a_folder_for_backups_is_named_as_seen_from_anywhere(elsewhere: Path) -> None:
    options = TargetOptions(database_url_env="SHOP_URL", storage="kept here")
    assert parsed(command_line("shop", options).recover())["storage"] == str(elsewhere / "kept here")


def test_a_registered_target_needs_no_more_than_its_name_and_the_policies_that_were_set() -> None:
    lines = command_line("shop", TargetOptions())
    assert lines.recover() == "lockkeeper recover shop"
    assert lines.undo() == "lockkeeper undo shop"
    assert lines.clean() == "lockkeeper clean shop --yes"
    assert lines.clean(waiting=True) == "lockkeeper clean shop --yes --waiting"
    assert lines.clean(quarantine="q1") == "lockkeeper clean shop --yes --quarantine q1"
    assert lines.migrate("head", "r1") == 'lockkeeper migrate shop --approve r1 --reason "..."'
    assert lines.migrate("+1", "r1") == 'lockkeeper migrate shop +1 --approve r1 --reason "..."'
    lines = command_line("shop", TargetOptions(set=["bake_time_s=60"]))
    assert lines.restore("b1") == "lockkeeper restore shop b1 --set bake_time_s=60"


def test_a_registry_elsewhere_is_named(monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> None:
    monkeypatch.setenv("LOCKKEEPER_HOME", "my home")
    home = f"LOCKKEEPER_HOME={elsewhere / 'my home'}"
    assert shlex.split(command_line("shop", TargetOptions()).undo()) == [
        "env",
        home,
        "lockkeeper",
        "undo",
        "shop",
    ]


def test_a_home_that_no_shell_has_expanded_is_the_same_in_the_line_the_registry_and_for_captures(
    monkeypatch: pytest.MonkeyPatch, elsewhere: Path
) -> None:
    """As systemd and an .env file set it."""
    monkeypatch.setenv("HOME", str(elsewhere / "me"))
    monkeypatch.setenv("LOCKKEEPER_HOME", "~/lk")
    home = elsewhere / "me" / "lk"
    assert shlex.split(command_line("shop", TargetOptions()).undo())[1] == f"LOCKKEEPER_HOME={home}"
    assert registry_path() == home / "targets.toml"
    assert captures_home() == home / "captures"


def test_a_program_that_no_shell_finds_is_named_by_its_path(
    monkeypatch: pytest.MonkeyPatch, elsewhere: Path
) -> None:
    program = elsewhere / "a venv" / "bin" / "lockkeeper"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    monkeypatch.setattr("sys.argv", [str(program), "migrate", "shop"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert shlex.split(command_line("shop", TargetOptions()).undo())[0] == str(program)
    monkeypatch.setenv("PATH", str(program.parent))
    assert command_line("shop", TargetOptions()).undo() == "lockkeeper undo shop"
    another = elsewhere / "another" / "lockkeeper"
    another.parent.mkdir()
    another.touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{another.parent}:{program.parent}")
    assert shlex.split(command_line("shop", TargetOptions()).undo())[0] == str(program)


def test_a_name_that_looks_like_a_revision_is_not_left_alone_beside_options() -> None:
    options = TargetOptions(database_url_env="SHOP_URL", storage="s3://bucket/shop")
    facts = parsed(command_line("abc123", options).migrate("head", "r1"))
    assert (facts["target"], facts["revision"], facts["approve"]) == ("abc123", "head", "r1")


def rename_parsed(line: str) -> tuple[str, dict[str, Any]]:
    """Return which command about renames a line is, and what it is given."""
    program, group_name, name, *arguments = shlex.split(line)
    assert (program, group_name) == ("lockkeeper", "rename")
    group: Any = typer.main.get_command(app).commands["rename"]  # type: ignore[attr-defined]
    return name, dict(group.commands[name].make_context(name, arguments).params)


def bundled(bundle: Any, facts: dict[str, Any]) -> Any:
    return bundle(**{one.name: facts[one.name] for one in dataclasses.fields(bundle)})


BARE = make_request("public.my table", "old", "new")
ELABORATE = make_request(
    'shop."Orders"', "id", "id",
    new_type="numeric(20, 2)", up="-id", down="'{\"a\": 1}' || id", flag="use-big.id",
    policy=RenamePolicy.model_validate({
        "throttle": {"batch_rows": 500, "probe_sql": " SELECT 'a=b' ", "share_percent": 12.5},
        "ramp": {"percents": [50, 100], "observe_s": 0.5},
        "flag_hook": {"command": ["flip it", "--now"]},
        "workers": 4, "scream_s": 0, "conflict": "new",
    }),
)  # fmt: skip


@pytest.mark.parametrize("request_", [BARE, ELABORATE], ids=["bare", "elaborate"])
def test_every_line_about_a_rename_is_about_the_change_that_was_asked_for(request_: RenameRequest) -> None:
    """Begun without its type, say, it would be another change, and nobody would be told."""
    lines = command_line("shop", TargetOptions(set=["lock_wait_s=1"]))
    asked = request_.asked()
    printed = {
        "start": lines.begin_rename(asked),
        "flip": lines.approve_rename("flip", asked),
        "contract": lines.approve_rename("contract", asked),
        "abort": lines.abort_rename(asked),
    }
    for command, line in printed.items():
        name, facts = rename_parsed(line)
        assert (name, facts["target"], facts["set"]) == (command, "shop", ["lock_wait_s=1"])
        column, change = bundled(rename.ColumnArguments, facts), bundled(rename.ChangeOptions, facts)
        assert rename._request(column, change) == request_


def test_a_bare_rename_is_asked_for_in_a_short_line() -> None:
    request = make_request("products", "description", "description_new")
    line = CommandLine("shop").begin_rename(request.asked())
    assert line == "lockkeeper rename start shop products description description_new"
    assert rename_parsed(CommandLine("shop").inspect_renames())[0] == "status"


@pytest.mark.parametrize(
    "policy",
    [
        {"throttle": {"metric_url": "https://metrics.example/s3cr3t", "max_metric": 1}},
        {"flag_hook": {"url": "https://flags.example/?token=s3cr3t"}},
    ],
    ids=["metric", "flag hook"],
)
def test_an_address_that_may_hold_a_token_is_in_no_line_which_is_refused_without_it(
    policy: dict[str, Any],
) -> None:
    wanted = make_request("t", "a", "b", policy=RenamePolicy.model_validate(policy))
    line = CommandLine("shop").begin_rename(wanted.asked())
    assert "s3cr3t" not in line
    _, facts = rename_parsed(line)
    with pytest.raises(ConfigurationError, match=r"--policy is not valid: .*(metric_url|http://)"):
        rename._request(bundled(rename.ColumnArguments, facts), bundled(rename.ChangeOptions, facts))


def test_what_a_shell_would_take_apart_is_quoted() -> None:
    assert CommandLine("shop").restore("b; rm -rf $HOME") == "lockkeeper restore shop 'b; rm -rf $HOME'"


def test_the_line_to_a_server_that_came_back_takes_any_name_of_a_database() -> None:
    instance = Instance(host="/run/my socket", port=5433, folder="/srv/back", recovery_lsn="latest")
    done = RestoreReport(
        backup_id="b1",
        database="it's mine",
        quarantine_database=None,
        fence_s=0,
        duration_s=1,
        instance=instance,
    )
    steps: Any = SimpleNamespace(
        restorable=lambda _: SimpleNamespace(id="b1", created_at=utc_now(), state=BackupState.VERIFIED),
        exclusive=contextlib.nullcontext,
        put_back=lambda *_: done,
        journal=lambda _: None,
        notify=lambda _: None,
    )
    report = run_restore(steps, MigrationRequest("r1", "shop", "it's mine"), "b1")
    assert report.outcome is Outcome.NEEDS_HUMAN
    program, facts = shlex.split(report.next_command or "")
    assert program == "psql"
    assert parse_dsn(facts) == {"host": "/run/my socket", "port": "5433", "dbname": "it's mine"}
