"""Answers the parent's requests, one after the other, each by running the project's env.py."""

import contextlib
import io
import os
import time
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional

from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError

from . import differences, history
from .channel import Channel
from .database import Attempt, Connections
from .failures import RunnerError, StaleError, UncommittedError, WrongDatabaseError, describe
from .measuring import Cost
from .project import Project

Reply = Dict[str, Any]


@contextlib.contextmanager
def _libpq_only_reads() -> Iterator[None]:
    """Open libpq's sessions (psycopg2, psycopg) read-only by default, for the length of the block."""
    before = os.environ.get("PGOPTIONS")
    os.environ["PGOPTIONS"] = f"{before or ''} -c default_transaction_read_only=on".lstrip()
    try:
        yield
    finally:
        if before is None:
            del os.environ["PGOPTIONS"]
        else:
            os.environ["PGOPTIONS"] = before


class Service:
    """One project, one database, many requests."""

    def __init__(self, opening: Dict[str, Any], channel: Channel) -> None:
        self._channel = channel
        self._connections = Connections(opening, channel)
        self._cost_sql = opening["locks_sql"], opening["scans_sql"]
        self._connections.install()
        self._reader: Optional[Callable[[Any], None]] = None
        self._prepared: Optional[List[Reply]] = None
        self._runs = 0
        self._was_fresh = True
        self._wrap_run_migrations()
        self._project = Project(opening)
        self._script = self._project.script

    def _wrap_run_migrations(self) -> None:
        """No migration, and not even the version table's creation, comes before the check of the database."""
        original = MigrationContext.run_migrations
        service = self

        def run_migrations(context: Any, **arguments: Any) -> None:
            service._runs += 1
            if context.as_sql:
                original(context, **arguments)
                return
            service._connections.require_expected(context.connection, context.dialect.name)
            if service._reader is not None:
                service._reader(context)
                return
            if service._prepared is not None:
                original(context, **arguments)
                service._prepared.append(_version_table(context))
                return
            noted = (lambda **_: service._connections.version_written(context.connection),)
            context.on_version_apply_callbacks = (*tuple(context.on_version_apply_callbacks), *noted)
            original(context, **arguments)

        MigrationContext.run_migrations = run_migrations  # type: ignore[method-assign,assignment]

    def answer(self, request: Dict[str, Any]) -> Reply:
        """Do what ``request`` asks for."""
        operation = request.pop("op")
        self._runs, self._was_fresh = 0, not self._project.env_runs
        env_first = request.pop("env_first", False) and self._was_fresh
        self._connections.expected = request.pop("identity", None) or self._connections.expected
        self._connections.foreign = None
        try:
            if env_first:
                self._read(["current"], lambda context: None)
            return getattr(self, "do_" + operation)(**request)  # type: ignore[no-any-return]
        finally:
            self._connections.forget_pooled()

    @property
    def may_not_bear_repetition(self) -> bool:
        """Whether env.py failed before it reached the migrations, in a process where it had run before."""
        return not self._was_fresh and not self._runs

    @property
    def without_env(self) -> bool:
        """Whether env.py has not run in this process."""
        return not self._project.env_runs

    @property
    def foreign(self) -> Optional[str]:
        """The other database that the project connected to during the request, if it did."""
        return self._connections.foreign

    @property
    def last_statements(self) -> Dict[str, str]:
        """What each session was sent last."""
        return self._connections.last_statements

    # -- reading: the sessions are read-only --------------------------------------------------------------

    def _read(self, command: List[str], reader: Callable[[Any], None]) -> None:
        self._connections.read_only, self._reader = True, reader
        try:
            self._project.run_env(command, lambda heads, context: [])
        finally:
            self._reader = None
        if not self._runs:
            raise RunnerError("env.py did not call context.run_migrations(), so there is nothing to migrate.")

    def do_current(self) -> Reply:
        """Return the version table's content, its name and whether it exists."""
        seen: List[Reply] = []
        self._read(["current"], lambda context: seen.append(_version_table(context)))
        if any(each["heads"] != seen[0]["heads"] for each in seen):
            raise RunnerError(
                "env.py migrates several version tables, which are not at the same revision: "
                + "; ".join(
                    f"{each['version_table']} at {', '.join(each['heads']) or 'base'}" for each in seen
                )
            )
        return seen[0]

    def do_plan(self, destination: str, current: Optional[List[str]] = None) -> Reply:
        """Return the steps from the current revisions (or ``current``) to ``destination``."""
        state = self.do_current() if current is None else {"heads": sorted(current)}
        steps = history.upgrade_path(self._script, destination, state["heads"])
        return self._path(state, steps, downgrade=False)

    def do_plan_downgrade(self, to: List[str]) -> Reply:
        """Return the steps back to a version table that holds ``to``."""
        state = self.do_current()
        return self._path(state, history.downgrade_path(self._script, state["heads"], to), downgrade=True)

    def _path(self, state: Reply, steps: List[Any], *, downgrade: bool) -> Reply:
        contents = history.simulate(self._script, steps, state["heads"], downgrade=downgrade)
        after = contents[-1] if contents else state["heads"]
        missing = {each.revision for each in history.everything(self._script)} - history.applied(
            self._script, after
        )
        return {
            **state,
            "steps": [history.describe(each) for each in steps],
            "contents": contents,
            "after": after,
            "reaches_head": not missing,
        }

    def do_history(self) -> Reply:
        """Return all revisions, each after those that it builds upon."""
        return {
            "revisions": [history.describe(each) for each in history.everything(self._script)],
            "heads": sorted(self._script.get_heads()),
        }

    def do_differences(self) -> Reply:
        """Return where the database differs from the models."""
        found: List[Optional[List[str]]] = []
        self._read(["check"], lambda context: found.append(differences.find(context)))
        known = [each for each in found if each is not None]
        return {"differences": [sentence for each in known for sentence in each] if known else None}

    def do_offline_sql(self, revision: str, heads: List[str]) -> Reply:
        """Return the SQL that Alembic's offline mode writes for one revision.

        The revision's Python runs for that. What it connects to by itself, past SQLAlchemy, it only reads.
        """
        self._connections.read_only = True
        output = io.StringIO()
        with _libpq_only_reads():
            self._project.run_env(
                ["upgrade", revision, "--sql"],
                lambda rev, context: [self._step(revision, downgrade=False)],
                output=output,
                as_sql=True,
                starting_rev=heads or None,
                destination_rev=revision,
            )
        return {"sql": output.getvalue()}

    # -- writing ----------------------------------------------------------------------------------------

    def _step(self, revision: str, *, downgrade: bool) -> Any:
        return history.migration_step(self._script, self._script.get_revision(revision), downgrade=downgrade)

    def do_outcome(self, revision: str, heads: List[str], downgrade: bool) -> Reply:
        """Return what one step makes of the version table."""
        step = self._script.get_revision(revision)
        return {"after": history.simulate(self._script, [step], heads, downgrade=downgrade)[-1]}

    def do_prepare(self) -> Reply:
        """Run env.py without a revision: it makes its schemas and version tables; return their names."""
        self._connections.read_only, self._reader = False, None
        seen: List[Reply] = []
        self._prepared = seen
        try:
            self._project.run_env(["upgrade", "heads"], lambda heads, context: [])
        finally:
            self._prepared = None
        return {"version_tables": [each["version_table"] for each in seen], "runs": self._runs}

    def do_step(self, revision: str, heads: List[str], downgrade: bool, record: bool = False) -> Reply:
        """Apply or revert one revision; the version table must hold ``heads``.

        ``record`` keeps the text of its statements.
        """
        cost = Cost(*self._cost_sql, record)
        command = ["downgrade" if downgrade else "upgrade", revision]
        return self._write(command, heads, lambda: [self._step(revision, downgrade=downgrade)], cost)

    def do_in_one_go(self, destination: str, heads: List[str]) -> Reply:
        """Apply all that leads to ``destination`` in one run of env.py, as Alembic's own command does.

        The parent is told of each revision as it begins; nothing is measured.
        """

        def steps() -> Iterator[Any]:
            for step in self._script._upgrade_revs(destination, tuple(heads)):  # type: ignore[arg-type]
                self._channel.send("begins", revision=step.revision.revision)
                yield step

        return self._write(["upgrade", destination], heads, steps, None)

    def _write(
        self, command: List[str], heads: List[str], steps: Callable[[], Iterable[Any]], cost: Optional[Cost]
    ) -> Reply:
        attempt = Attempt()
        self.last_cost = self._connections.cost = cost
        self._connections.read_only, self._connections.attempt = False, attempt
        started = time.monotonic()

        def checked(found: Any, context: Any) -> Iterable[Any]:
            if sorted(found) != sorted(heads):
                raise StaleError(
                    f"The version table holds {', '.join(sorted(found)) or 'nothing'} instead of "
                    f"{', '.join(sorted(heads)) or 'nothing'}: somebody else has migrated this database."
                )
            return steps()

        try:
            self._project.run_env(command, checked, starting_rev=None, destination_rev=command[1])
        except BaseException:
            self._connections.attempt = None
            raise
        finally:
            self.last_attempt = attempt
            self._connections.cost = None
        self._connections.attempt = None
        if not self._runs or not attempt.versions_written:
            raise RunnerError("env.py did not call context.run_migrations(), so the revision was not run.")
        if attempt.versions_committed < attempt.versions_written:
            raise UncommittedError(
                "The revision ran without an error, but env.py never committed it. Wrap "
                "context.run_migrations() in `with context.begin_transaction():`."
            )
        return {"duration_s": time.monotonic() - started}

    last_attempt: Optional[Attempt] = None
    last_cost: Optional[Cost] = None


def _version_table(context: Any) -> Reply:
    schema = context.version_table_schema
    if schema is None:
        row = context.connection.exec_driver_sql("SELECT pg_catalog.current_schema()::text").fetchone()
        schema = row[0] if row else None
    quote = context.dialect.identifier_preparer.quote_identifier
    heads = sorted(context.get_current_heads())
    return {
        "heads": heads,
        "version_table": ".".join(quote(part) for part in (schema, context.version_table) if part),
        "version_table_exists": bool(heads) or bool(context._has_version_table()),
    }


def serve(events_fd: int) -> None:
    """Answer requests until the parent closes its end; the first line opens the project."""
    channel = Channel(events_fd)
    requests = channel.requests()
    service: Optional[Service] = None
    for request in requests:
        try:
            if service is None:
                service = Service(request, channel)
                reply: Reply = {}
            else:
                service.last_attempt = service.last_cost = None
                reply = service.answer(request)
        except BaseException as error:  # env.py may call sys.exit()
            channel.send("error", **_failure(error, service), **_attempted(service))
        else:
            channel.send("done", value=reply, **_attempted(service))


def _failure(error: BaseException, service: Optional[Service]) -> Reply:
    facts = describe(error)
    said_it_all = isinstance(error, (RunnerError, CommandError))
    facts["try_fresh"] = bool(service and service.may_not_bear_repetition and not said_it_all)
    facts["without_env"] = bool(service and service.without_env)
    facts["last_statements"] = service.last_statements if service else {}
    foreign = service.foreign if service else None
    if foreign and facts["sqlstate"] == "25006" and not isinstance(error, WrongDatabaseError):
        facts.update(kind=WrongDatabaseError.kind, message=foreign)
    return facts


def _attempted(service: Optional[Service]) -> Reply:
    attempt = service.last_attempt if service else None
    cost = service.last_cost if service else None
    told: Reply = {} if cost is None else {"cost": cost.facts}
    if attempt is not None and attempt.writes_complete:
        told["writes"] = attempt.writes
    return told
