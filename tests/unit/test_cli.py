"""The command line without any database: arguments, the registry's commands, errors, the one document."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest

from lockkeeper import __version__
from lockkeeper.cli import main as program
from lockkeeper.cli.initiator import initiator, run_link
from lockkeeper.cli.options import TargetOptions
from lockkeeper.cli.output import Session, redacted
from lockkeeper.cli.selection import entry_from_options, key_values, name_from_database, select_target
from lockkeeper.errors import ConfigurationError, LockkeeperError, NeedsHumanError, PreflightError

PASSWORD = "Canary-51ab-cli"
COMMANDS = (
    "migrate", "plan", "lint", "test", "status", "backup", "backups", "restore", "up", "down", "target",
    "trend", "metrics",
)  # fmt: skip


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.out)
        return parsed


Cli = Callable[..., Answer]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOCKKEEPER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = scripts\n")
    return tmp_path


@pytest.fixture
def cli(home: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    """Return a function: arguments -> exit code, stdout, stderr of the program."""

    def run(*arguments: str) -> Answer:
        capfd.readouterr()
        code = program.run(list(arguments))
        return Answer(code, *capfd.readouterr())

    yield run
    logger = logging.getLogger("lockkeeper")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)
    logging.raiseExceptions = True


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


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException, *, changing: bool = False) -> None:
    """Make the command ``target list`` fail; the program around it is the real one."""

    class Broken:
        def __init__(self) -> None:
            raise error

    monkeypatch.setattr("lockkeeper.registry.Registry", Broken)
    if changing:
        original = Session.from_arguments

        def session(argv: list[str]) -> Session:
            made = original(argv)
            made.changing = "lockkeeper status shop"
            return made

        monkeypatch.setattr(Session, "from_arguments", session)


def test_an_unexpected_error_is_one_line_and_a_traceback_only_on_demand(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, RuntimeError(f"postgresql://a:{PASSWORD}@h/d"))
    answer = cli("target", "list")
    assert answer.code == 1
    assert "Unexpected RuntimeError" in answer.err
    assert "Traceback" not in answer.err
    debugged = cli("target", "list", "--debug")
    assert "Traceback" in debugged.err
    assert PASSWORD not in answer.err + debugged.err
    assert cli("target", "list", "--json").document["error_type"] == "RuntimeError"


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyboardInterrupt()])
def test_an_unknown_end_of_a_change_needs_a_human(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    failing(monkeypatch, error, changing=True)
    document = cli("target", "list", "--json").document
    assert (document["exit_code"], document["outcome"]) == (3, "needs a human")
    assert document["next_command"] == "lockkeeper status shop"


def test_an_interruption_before_any_change_is_a_failure(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    answer = cli("target", "list")
    assert answer.code == 1
    assert "interrupted" in answer.err


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyboardInterrupt(), LockkeeperError("no answer")])
@pytest.mark.parametrize("command", ["test", "lint"])
def test_a_check_that_is_cut_short_has_found_nothing_and_says_so(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch, command: str, error: BaseException
) -> None:
    def cut_short(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("lockkeeper.proving.run_migration_test", cut_short)
    monkeypatch.setattr("lockkeeper.lint.lint_project", cut_short)
    junit = ("--junit", "junit.xml") if command == "test" else ()
    document = cli(command, "--alembic", "alembic.ini", *junit, "--json").document
    assert (document["exit_code"], document["outcome"]) == (2, "could not check")
    assert cli(command, "--alembic", "alembic.ini").err != ""
    if junit:
        suite = ElementTree.parse(home / "junit.xml").getroot()
        assert (suite.get("tests"), suite.get("errors"), suite.get("failures")) == ("1", "1", "0")
        (told,) = suite.iter("error")
        assert str(told.text).endswith(str(error) or "interrupted")


def test_a_project_that_is_not_there_is_an_error_in_the_junit_file(cli: Cli, home: Path) -> None:
    assert cli("test", "--alembic", "nowhere.ini", "--junit", "junit.xml").code == 2
    assert "nowhere.ini" in (home / "junit.xml").read_text()


def test_errors_carry_their_facts_into_the_document(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, PreflightError(["server: too old", "disk: full"]))
    document = cli("target", "list", "--json").document
    assert (document["exit_code"], document["problems"]) == (2, ["server: too old", "disk: full"])
    failing(monkeypatch, NeedsHumanError("Stopped.", "lockkeeper restore shop b1"))
    document = cli("target", "list", "--json").document
    assert (document["exit_code"], document["next_command"]) == (3, "lockkeeper restore shop b1")


def test_what_a_library_prints_does_not_reach_the_document(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    class Noisy:
        path = Path("x")

        def entries(self) -> dict[str, Any]:
            print("noise")
            return {}

    monkeypatch.setattr("lockkeeper.registry.Registry", Noisy)
    answer = cli("target", "list", "--json")
    assert answer.document["targets"] == []
    assert "noise" in answer.err


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
