"""An application's view of a flag: who sees the new column, and what happens when the database is away."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError, ParseError, TypeMismatchError
from openfeature.flag_evaluation import Reason

from lockkeeper.errors import ConfigurationError, FlagSwitchError, ProgramError
from lockkeeper.flags import switch
from lockkeeper.flags.provider import TableFlagProvider, variable_of
from lockkeeper.flags.ramp import RampPolicy
from lockkeeper.flags.split import covers
from lockkeeper.flags.switch import FlagChange, FlagHook, tell

FLAG = "use-new-description"
KEYS = [str(number) for number in range(20_000)]


class Database:
    """A DB-API connection to a table of flags that may be missing, or away."""

    def __init__(self, **flags: int) -> None:
        self.flags: dict[str, int] | None = {name.replace("_", "-"): flags[name] for name in flags}
        self.away = False
        self.reads = self.closed = 0

    def __call__(self) -> SimpleNamespace:
        if self.away:
            raise OSError("connection refused")
        statements: list[str] = []

        def execute(statement: str) -> None:
            assert self.flags is not None or "feature_flag'" in statement, "a statement that would fail"
            statements.append(statement)
            self.reads += "SELECT name" in statement

        cursor = SimpleNamespace(
            execute=execute,
            fetchone=lambda: (self.flags is not None,),
            fetchall=lambda: list((self.flags or {}).items()),
        )

        def close() -> None:
            self.closed += 1

        return SimpleNamespace(cursor=lambda: cursor, commit=lambda: None, close=close)


def value(provider: TableFlagProvider, key: str | None = None, default: bool = False) -> bool:
    return provider.resolve_boolean_details(FLAG, default, EvaluationContext(key)).value


def test_a_percentage_covers_that_share_and_a_higher_one_covers_the_same_keys_and_more() -> None:
    seen: set[str] = set()
    for percent in (0, 1, 10, 50, 100):
        covered = {key for key in KEYS if covers(FLAG, percent, key)}
        assert seen <= covered
        assert len(covered) / len(KEYS) == pytest.approx(percent / 100, abs=0.01)
        seen = covered
    assert {key for key in KEYS if covers("another", 50, key)} != {
        key for key in KEYS if covers(FLAG, 50, key)
    }
    assert [covers(FLAG, percent, None) for percent in (0, 50, 100)] == [False, False, True]


def test_which_keys_a_percentage_covers_never_changes_between_versions() -> None:
    assert [key for key in KEYS[:400] if covers(FLAG, 1, key)] == [
        "28",
        "51",
        "91",
        "97",
        "175",
        "332",
        "365",
    ]


def test_a_flip_is_seen_after_the_cache_has_aged_and_not_read_before() -> None:
    database = Database(use_new_description=0)
    provider = TableFlagProvider(database, cache_s=3600, environ={})
    provider.initialize(EvaluationContext())
    database.flags = {FLAG: 100}
    assert not any(value(provider) for _ in range(100))
    assert (database.reads, database.closed) == (1, 1)
    provider._cache_s = 0
    assert value(provider)


def test_a_database_that_is_away_leaves_the_flag_as_it_was() -> None:
    database = Database(use_new_description=100)
    provider = TableFlagProvider(database, cache_s=0, environ={})
    assert value(provider)
    database.away = True
    details = provider.resolve_boolean_details(FLAG, False)
    assert (details.value, details.reason) == (True, Reason.STALE)
    database.away, database.flags = False, {FLAG: 0}
    assert not value(provider)


def test_a_flag_that_was_never_read_is_the_callers_default() -> None:
    database = Database()
    database.away = True
    provider = TableFlagProvider(database, cache_s=0, environ={})
    assert value(provider, default=True)
    database.away, database.flags = False, None  # no rename has ever run here
    with pytest.raises(FlagNotFoundError):
        value(provider)


@pytest.mark.parametrize(("text", "expected"), [("1", True), ("TRUE", True), ("off", False), ("0", False)])
def test_the_environment_overrides_the_table(text: str, expected: bool) -> None:
    database = Database(use_new_description=0 if expected else 100)
    provider = TableFlagProvider(database, environ={"USE_NEW_DESCRIPTION": text})
    assert variable_of(FLAG) == "USE_NEW_DESCRIPTION"
    assert value(provider) is expected
    assert database.reads == 0


def test_an_override_that_is_neither_yes_nor_no_is_an_error() -> None:
    provider = TableFlagProvider(Database(), environ={"USE_NEW_DESCRIPTION": "maybe"})
    with pytest.raises(ParseError):
        value(provider)
    for resolve in (
        provider.resolve_string_details,
        provider.resolve_integer_details,
        provider.resolve_float_details,
        provider.resolve_object_details,
    ):
        with pytest.raises(TypeMismatchError):
            resolve(FLAG, "")


def test_while_one_thread_reads_the_others_go_on_with_what_is_known() -> None:
    database, entered, go_on = Database(use_new_description=100), threading.Event(), threading.Event()
    provider = TableFlagProvider(database, cache_s=0, environ={})
    assert value(provider)

    def slow() -> SimpleNamespace:
        entered.set()
        assert go_on.wait(10)
        return database()

    provider._connect = slow
    reader = threading.Thread(target=value, args=(provider,))
    reader.start()
    assert entered.wait(10)
    assert value(provider)  # would hang until the reader is done
    go_on.set()
    reader.join()


def test_an_application_needs_openfeature_and_nothing_else() -> None:
    code = """
    import sys
    from openfeature import api
    before = set(sys.modules)
    from lockkeeper.flags.provider import TableFlagProvider
    loaded = {name.split(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
    print(*sorted(loaded))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["lockkeeper", "openfeature"] or done.stdout.split() == ["lockkeeper"]


def test_a_ramp_ends_with_100_percent() -> None:
    assert RampPolicy(percents=(5, 100)).percents == (5, 100)
    for wrong in ((), (1, 10), (0, 100), (50, 10, 100), (100, 100)):
        with pytest.raises(ValueError, match="rise and end with 100"):
            RampPolicy(percents=wrong)


def test_a_hook_is_a_command_or_a_web_address() -> None:
    for wrong in ({}, {"command": ("x",), "url": "http://x"}, {"url": "file:///etc/passwd"}):
        with pytest.raises(ValueError, match="flag hook"):
            FlagHook(**wrong)


CHANGE = FlagChange(FLAG, 10, "ana", "ramp: 10 %")


def test_a_command_is_told_of_the_flip_by_its_environment(tmp_path) -> None:
    script = 'echo "$LOCKKEEPER_FLAG $LOCKKEEPER_FLAG_PERCENT $LOCKKEEPER_FLAG_CHANGED_BY" > "$0"'
    tell(FlagHook(command=("sh", "-c", script, str(tmp_path / "told"))), CHANGE)
    assert (tmp_path / "told").read_text() == f"{FLAG} 10 ana\n"
    with pytest.raises(ProgramError):
        tell(FlagHook(command=("false",)), CHANGE)


def test_a_flag_service_is_asked_again_and_gets_its_token_from_the_environment(monkeypatch) -> None:
    monkeypatch.setattr(switch, "_PAUSE_S", 0.01)
    requests: list[tuple[str | None, dict]] = []
    answers = iter([503, 204, 500, 500, 500])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append((self.headers["Authorization"], body))
            self.send_response(next(answers))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as service:
        thread = threading.Thread(target=service.serve_forever)
        thread.start()
        try:
            hook = FlagHook(url=f"http://127.0.0.1:{service.server_port}/flip", token_env="FLAG_TOKEN")
            with pytest.raises(ConfigurationError, match="FLAG_TOKEN"):
                tell(hook, CHANGE, {})
            tell(hook, CHANGE, {"FLAG_TOKEN": "sesame-open"})
            with pytest.raises(FlagSwitchError, match="status 500"):
                tell(hook, CHANGE, {"FLAG_TOKEN": "sesame-open"})
        finally:
            service.shutdown()
            thread.join()
    assert requests[0] == requests[1]
    authorization, body = requests[0]
    assert authorization == "Bearer sesame-open"
    assert body == {"flag": FLAG, "percent": 10, "enabled": True, "changed_by": "ana", "reason": "ramp: 10 %"}
    assert len(requests) == 5
