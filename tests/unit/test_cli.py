"""The command line without any database: arguments, targets, the registry, what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lockkeeper import __version__
from lockkeeper.cli.initiator import initiator, run_link
from lockkeeper.cli.options import TargetOptions
from lockkeeper.cli.output import redacted
from lockkeeper.cli.selection import entry_from_options, key_values, name_from_database, select_target
from lockkeeper.errors import ConfigurationError
from lockkeeper.recovery.remains import Remain
from tests.unit.command_line import PASSWORD, Answer, Cli

COMMANDS = (
    "migrate", "plan", "lint", "test", "status", "backup", "backups", "restore", "up", "down", "target",
    "trend", "metrics",
)  # fmt: skip


def add_shop(cli: Cli, *more: str) -> Answer:
    return cli("target", "add", "shop", "--database-url-env", "SHOP_URL", "--storage", "backups", *more)


def test_help_names_every_command_and_the_exit_codes(cli: Cli) -> None:
    answer = cli("--help")
    assert answer.code == 0
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", answer.out, re.MULTILINE), command
    for code in ("0  done", "1  failed", "2  refused", "3  needs a human"):
        assert code in answer.out


@pytest.mark.parametrize("command", [*((name,) for name in COMMANDS), ("target", "add"), ("target", "check")])
def test_every_command_explains_itself(cli: Cli, command: tuple[str, ...]) -> None:
    assert cli(*command, "--help").code == 0


def test_the_version_is_text_or_a_document(cli: Cli) -> None:
    assert cli("--version") == (0, f"lockkeeper {__version__}\n", "")
    assert cli("--version", "--json").document == {
        "outcome": "succeeded", "exit_code": 0, "version": __version__
    }  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        (), ("migrat",), ("migrate", "--no-such-option"), ("migrate", "a", "b", "c"), ("target",),
        ("target", "show"), ("up", "--folder"), ("backup", "--set"),
    ],
)  # fmt: skip
def test_wrong_usage_is_refused_with_one_document(cli: Cli, arguments: tuple[str, ...]) -> None:
    answer = cli("--json", *arguments)
    assert answer.code == 2
    assert answer.document["outcome"] == "refused"
    assert answer.document["exit_code"] == 2
    assert answer.document["error"]
    assert answer.err == ""
    plain = cli(*arguments)
    assert (plain.code, plain.out) == (2, "")
    assert "lockkeeper" in plain.err


def test_a_target_is_added_listed_shown_and_removed(cli: Cli, home: Path) -> None:
    added = add_shop(cli, "--alembic", "alembic.ini", "--set", "lock_timeout_ms=500", "-x", "db={url}")
    assert added.code == 0
    assert "Set SHOP_URL before you use it" in added.out
    listed = cli("target", "list", "--json").document["targets"]
    assert [one["name"] for one in listed] == ["shop"]
    assert listed[0]["alembic"]["config_file"] == str(home / "alembic.ini")
    assert listed[0]["storage"] == {"kind": "local", "path": str(home / "backups")}
    shown = cli("target", "show", "shop", "--json").document
    assert shown["policies"]["lock_timeout_ms"] == 500
    assert shown["policies"]["recovery"] == "lossless"
    assert shown["environment"] == {"SHOP_URL": False}
    assert "alembic.x_arguments.db" in cli("target", "show", "shop").out
    assert cli("target", "remove", "shop").code == 0
    assert cli("target", "list", "--json").document["targets"] == []
    assert "No target is registered yet" in cli("target", "list").out


def test_a_taken_name_is_refused_unless_replaced(cli: Cli) -> None:
    assert add_shop(cli).code == 0
    refused = add_shop(cli, "--json")
    assert (refused.code, refused.document["error_type"]) == (2, "ConfigurationError")
    assert add_shop(cli, "--replace", "--set", "restore_jobs=4").code == 0
    assert cli("target", "show", "shop", "--json").document["policies"]["restore_jobs"] == 4


def test_a_password_on_the_command_line_is_refused_and_never_shown(cli: Cli, home: Path) -> None:
    url = f"postgresql://app:{PASSWORD}@db.example/shop"
    for arguments in (
        ("target", "add", "shop", "--database-url", url, "--storage", "backups"),
        ("target", "add", "shop", "--database-url-env", url, "--storage", "backups"),
        ("migrate", "--database-url", url, "--alembic", "alembic.ini", "--storage", "backups"),
        ("backup", "--database-url-env", "U", "--storage", f"s3://key:{PASSWORD}@bucket/x"),
        ("migrate", "shop", "--set", f"lock_timeout_ms={PASSWORD}"),
        ("migrate", "shop", "--set", PASSWORD),
        ("target", "check", url),
    ):
        for extra in ((), ("--json",), ("--debug",)):
            answer = cli(*arguments, *extra)
            assert answer.code == 2, arguments
            assert PASSWORD not in answer.out + answer.err, arguments
    assert not (home / "home" / "targets.toml").exists()


def test_what_clean_would_remove_is_removed_by_the_line_below_it(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a line of its own, however long; where nothing would go, there is nothing to copy."""
    add_shop(cli)
    monkeypatch.setenv("SHOP_URL", f"postgresql://app:{PASSWORD}@db.example/shop")
    newest = Remain("quarantine", "shop_lk_failed_20261123104700", "of a failed run", kept=True)
    monkeypatch.setattr("lockkeeper.recovery.remains.find_remains", lambda _: [newest])
    line = f"env LOCKKEEPER_HOME={home / 'home'} lockkeeper clean shop --yes --quarantine {newest.name}"
    preview = cli("clean", "shop", "--quarantine", newest.name)
    assert preview.out.endswith(f"\nNext:\n{line}\n")
    assert cli("clean", "shop", "--quarantine", newest.name, "--json").document["next_command"] == line
    stays = cli("clean", "shop")
    assert "stays" in stays.out
    assert "Next:" not in stays.out


def test_an_unknown_target_is_refused_with_the_known_ones(cli: Cli) -> None:
    add_shop(cli)
    for command in ("migrate", "plan", "backup", "backups", "status"):
        answer = cli(command, "shp", "--json")
        assert answer.code == 2
        assert "known: shop" in answer.document["error"]


def test_a_missing_variable_is_refused_by_name(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_URL", raising=False)
    add_shop(cli, "--alembic", "alembic.ini")
    answer = cli("migrate", "shop")
    assert answer.code == 2
    assert "export SHOP_URL=" in answer.err
    assert answer.out == ""


def test_a_target_without_a_project_can_be_backed_up_but_not_migrated(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_URL", "postgresql://app@db.example/shop")
    add_shop(cli)
    answer = cli("migrate", "shop")
    assert answer.code == 2
    assert "--alembic" in answer.err


def test_backups_of_a_folder_that_is_not_there_are_none(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_URL", "postgresql://app@db.example/shop")
    add_shop(cli)
    assert cli("backups", "shop", "--json").document["backups"] == []
    assert "no backup yet" in cli("backups", "shop").out


def test_a_restore_needs_the_backup_named(cli: Cli) -> None:
    answer = cli("restore", "shop", "--json")
    assert answer.code == 2
    assert "lockkeeper backups" in answer.document["error"]


def test_down_without_a_stack_is_refused(cli: Cli, tmp_path: Path) -> None:
    assert cli("down", "--folder", str(tmp_path / "none"), "--json").code == 2


@pytest.mark.parametrize("revision", ["head", "heads", "+1", "ae10", "1975ea83b712", "users@head"])
def test_a_lone_revision_is_not_taken_for_a_name(cli: Cli, revision: str) -> None:
    unregistered = ("--database-url-env", "U", "--alembic", "alembic.ini", "--storage", "backups")
    answer = cli("migrate", revision, *unregistered)
    assert answer.code == 2
    assert f"--revision {revision}" in answer.err


def test_two_different_revisions_are_refused(cli: Cli) -> None:
    assert cli("plan", "shop", "abc1", "--revision", "def2").code == 2


def unregistered(**changes: Any) -> TargetOptions:
    return TargetOptions(**{"database_url_env": "U", "storage": "backups", **changes})


def test_an_unregistered_target_is_named_after_its_database(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("U", f"postgresql://app:{PASSWORD}@db.example/My_Shop")
    assert select_target(None, unregistered()).name == "my-shop"
    assert select_target("crm", unregistered()).name == "crm"
    target = select_target(None, unregistered(alembic=Path("alembic.ini"), set=["lock_timeout_ms=7"]))
    assert target.require_alembic().config_file == home / "alembic.ini"
    assert target.policies.lock_timeout_ms == 7


@pytest.mark.parametrize(
    ("database", "name"), [("shop", "shop"), ("Shop DB_1", "shop-db-1"), ("店", "database"), ("-a-", "a")]
)
def test_names_made_of_databases_are_valid(database: str, name: str) -> None:
    assert name_from_database(database) == name


def test_definition_options_do_not_change_a_registered_target(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="--storage describes a target that is not registered"):
        select_target("shop", TargetOptions(storage="elsewhere"))


def test_storage_is_a_bucket_or_a_directory(home: Path) -> None:
    bucket = entry_from_options(unregistered(storage="s3://backups/a/b/", s3_endpoint_url="http://h:9"))
    assert bucket.storage.model_dump(exclude_none=True) == {
        "kind": "s3", "bucket": "backups", "prefix": "a/b", "endpoint_url": "http://h:9"
    }  # fmt: skip
    folder = entry_from_options(unregistered(storage="file:///var/my%20backups"))
    assert folder.storage.model_dump() == {"kind": "local", "path": Path("/var/my backups")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"storage": "gs://bucket"}, "gs:// is not known"),
        ({"storage": "s3://"}, "s3://bucket/prefix"),
        ({"storage": None}, "Where do backups go"),
        ({"s3_region": "eu"}, "need --storage s3://"),
        ({"alembic": Path("nowhere.ini")}, "no Alembic configuration"),
        ({"driver": "asyncpg"}, "need --alembic"),
        ({"alembic": Path("alembic.ini"), "x": ["novalue"]}, "--x takes KEY=VALUE"),
        ({"alembic": Path("alembic.ini"), "env_from": ["A=B"]}, "environment variable"),
        ({"set": ["nothing=1"]}, "no policy 'nothing'"),
    ],
)
def test_a_wrong_definition_says_what_is_right(home: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        entry_from_options(unregistered(**changes))
    assert message in str(caught.value)


def test_a_virtual_environments_python_is_not_replaced_by_what_it_links_to(home: Path) -> None:
    link = home / "venv-python"
    link.symlink_to("/bin/sh")
    entry = entry_from_options(unregistered(alembic=Path("alembic.ini"), python=Path("venv-python")))
    assert entry.alembic is not None
    assert entry.alembic.python == link


def test_values_may_hold_equal_signs() -> None:
    assert key_values("--x", ["dsn=a=b", " k = v "]) == {"dsn": "a=b", "k": "v"}


def test_documents_are_redacted_in_depth() -> None:
    url = f"postgresql://a:{PASSWORD}@h/d"
    document = redacted({"a": [url, {url: (url, 1, None, 2.5, True)}]})
    assert PASSWORD not in json.dumps(document)
    assert next(iter(document["a"][1].values()))[1:] == [1, None, 2.5, True]


def test_who_started_a_run_is_known_in_ci_and_at_a_desk() -> None:
    assert initiator({"LOCKKEEPER_INITIATOR": "nightly"}) == "nightly"
    assert initiator({"GITHUB_ACTOR": "mira"}) == "mira (GitHub Actions)"
    assert "@" in initiator({})
    github = {"GITHUB_SERVER_URL": "https://gh", "GITHUB_REPOSITORY": "a/b", "GITHUB_RUN_ID": "7"}
    assert run_link(github) == "https://gh/a/b/actions/runs/7"
    assert run_link({}) is None
    assert run_link({"LOCKKEEPER_RUN_URL": "https://ci/1"}) == "https://ci/1"


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (("migrate", "shop", ""), "shop"),
        (("migrate", "shop", "--revision", ""), "--revision"),
        (("plan", "--revision=", "shop"), "--revision"),
        (("restore", "shop", ""), "shop"),
    ],
)
def test_an_empty_argument_is_refused_and_never_means_head(
    cli: Cli, arguments: tuple[str, ...], where: str
) -> None:
    add_shop(cli, "--alembic", "alembic.ini")
    answer = cli(*arguments, "--json")
    assert (answer.code, answer.document["outcome"]) == (2, "refused")
    assert f"is empty ({where})" in answer.document["error"]
