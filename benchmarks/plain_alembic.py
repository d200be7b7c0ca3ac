"""What plain Alembic and pg_dump say of a history: a second opinion that uses nothing of Lockkeeper's.

Every revision goes up, down and up again by ``alembic.command``, in a process of the package's own
interpreter, and the database is dumped in between. Where something failed, the command is tried once more in
a fresh process, since sessions that a revision has left open end with the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy.engine import URL

from lockkeeper.config import AlembicSettings
from lockkeeper.models import Revision
from lockkeeper.postgres.clients import find_client_programs
from lockkeeper.postgres.connection import connect, execute, fetch_all

LOCK_TIMEOUT = "5s"
ROW = "ROW "
COMMANDS = """
import json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from alembic import command
from alembic.config import Config
for line in sys.stdin:
    name, ini, url, revision = json.loads(line)
    config = Config(ini)
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    try:
        getattr(command, name)(config, revision)
        told = None
    except BaseException as error:
        told = type(error).__name__ + ": " + str(error).strip()
    answers.write(json.dumps(told) + "\\n")
    answers.flush()
"""
TABLES = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
  AND c.relname NOT LIKE '%alembic\\_version'
"""
_NOISE = re.compile(r"^(?:--.*|SET .*|SELECT pg_catalog\.set_config.*|\\(?:un)?restrict .*)$", re.MULTILINE)
_TABLE = re.compile(r"CREATE (?:UNLOGGED )?TABLE (\S+) \(\n(.*)\n\)(.*)", re.DOTALL)


@dataclass(frozen=True)
class Opinion:
    """What became of one revision; ``failures`` by move (up, down, again), differences as statements."""

    failures: dict[str, str] = field(default_factory=dict)
    after_downgrade: frozenset[str] = frozenset()
    second_time: frozenset[str] = frozenset()


@dataclass(frozen=True)
class OneGoOpinion:
    """What became of upgrades in one process, in one go, from an empty database.

    Attributes:
        failures: revision that was asked about -> what going up to it failed of, or None.
        beyond: what going from the last of them to the heads failed of.
        differences: between a database at the heads and one that got there one revision at a time.
    """

    failures: dict[str, str | None] = field(default_factory=dict)
    beyond: str | None = None
    differences: frozenset[str] = frozenset()


def statements(dump: str) -> frozenset[str]:
    """Split what pg_dump has written into parts that do not depend on the order of columns."""
    found: set[str] = set()
    for one in _NOISE.sub("", dump).split(";\n"):
        text = " ".join(one.split())
        table = _TABLE.match(one.strip())
        if table is None:
            found.add(text)
            continue
        name, columns, rest = table.groups()
        found.add(f"TABLE {name}{rest}")
        found |= {f"TABLE {name}: {column.strip().rstrip(',')}" for column in columns.splitlines()}
    return frozenset(found - {""})


class PlainAlembic:
    """Alembic's own commands on one database, in one process as long as nothing fails."""

    def __init__(self, settings: AlembicSettings, url: URL) -> None:
        driver = settings.driver or "psycopg2"
        self._url = url.set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False)
        self._settings = settings
        self._program: subprocess.Popen[str] | None = None
        self.apart = False

    def close(self) -> None:
        """End the process, and with it every session that is still open."""
        if self._program is not None:
            self._program.kill()
            self._program.communicate()
            self._program = None

    def run(self, name: str, revision: str) -> str | None:
        """Run a command, once more in a fresh process if it fails; returns what that failed of."""
        if self.apart:
            self.close()
        for _ in range(2):
            told = self.once(name, revision)
            if told is None:
                return None
            self.close()
        return told

    def once(self, name: str, revision: str) -> str | None:
        """Run a command in the present process; returns what it failed of."""
        if self._program is None:
            self._program = self._started()
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        request = [name, str(self._settings.config_file), self._url, revision]
        with contextlib.suppress(BrokenPipeError):
            self._program.stdin.write(json.dumps(request) + "\n")
            self._program.stdin.flush()
        answer = self._program.stdout.readline()
        if not answer:
            self.close()
            return "the process ended"
        told: str | None = json.loads(answer)
        return told

    def _started(self) -> subprocess.Popen[str]:
        settings = self._settings
        environment = {key: secret.get_secret_value() for key, secret in settings.environment.items()}
        environment |= {settings.url_env: self._url} if settings.url_env else {}
        return subprocess.Popen(
            [settings.interpreter, "-c", COMMANDS],
            env=os.environ | environment | {"PGOPTIONS": f"-c lock_timeout={LOCK_TIMEOUT}"},
            cwd=settings.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )


class SecondOpinion:
    """Goes through a history; a context manager that drops its databases."""

    def __init__(self, settings: AlembicSettings, server: URL, name: str) -> None:
        self._settings = settings
        self._server = server
        self._name = name
        self._alembic: PlainAlembic | None = None
        self._last: frozenset[str] | None = None
        with connect(server, "second-opinion") as connection:
            self._programs = find_client_programs(connection.server_version)

    def __enter__(self) -> SecondOpinion:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._forget()

    def opinions(self, steps: Sequence[Revision], apart: Collection[str]) -> Iterator[tuple[str, Opinion]]:
        """Yield each revision with its opinion; ends with the first that cannot be applied at all.

        Each move of a revision in ``apart`` is made in a process of its own, as on the command line; a
        process of some packages takes many seconds to start.
        """
        before: Revision | None = None
        for step in steps:
            if self._alembic is None and not self._begin(before):
                return
            yield step.id, (opinion := self._opinion(step, _target(step, steps), step.id in apart))
            if "up" in opinion.failures:
                return
            before = step

    def in_one_go(self, steps: Sequence[Revision], asked: Sequence[str]) -> OneGoOpinion:
        """Go up in one process; beyond each revision that is ``asked`` about it begins anew, one by one."""
        failures: dict[str, str | None] = {}
        done = 0
        for revision in asked:
            failures[revision] = self._gone(steps[:done], revision)
            done = [step.id for step in steps].index(revision) + 1
        beyond = self._gone(steps[:done], "heads") if done < len(steps) else None
        if failures or beyond:
            return OneGoOpinion(failures, beyond)
        in_one_go = self._schema()
        self._gone(steps, None)
        return OneGoOpinion(differences=in_one_go ^ self._schema())

    def _gone(self, steps: Sequence[Revision], to: str | None) -> str | None:
        """Take ``steps`` one by one, then all up to ``to`` in a fresh process; return what that failed of."""
        self._forget()
        self._begin(None)
        assert self._alembic is not None
        for step in steps:
            self._alembic.run("upgrade", step.id)
        self._alembic.close()
        return self._alembic.once("upgrade", to) if to else None

    def _opinion(self, step: Revision, target: str, apart: bool) -> Opinion:
        assert self._alembic is not None
        self._alembic.apart = apart
        before = self._last or self._state()
        self._last = None
        if told := self._alembic.run("upgrade", step.id):
            return Opinion({"up": told})
        first = self._state()
        if told := self._alembic.run("downgrade", target):
            if self._state() != first:
                self._forget()
            else:
                self._last = first
            return Opinion({"down": told})
        down = self._state()
        if told := self._alembic.run("upgrade", step.id):
            self._forget()
            return Opinion({"again": told}, before ^ down)
        self._last = self._state()
        # Rows that are made anew may have another time in them; nobody promises them to be the same.
        again = frozenset(one for one in first ^ self._last if not one.startswith(ROW))
        return Opinion({}, before ^ down, again)

    def _begin(self, revision: Revision | None) -> bool:
        """Make a fresh database, and bring it to ``revision`` in one go."""
        self._execute(f"CREATE DATABASE {self._name}")
        self._alembic = PlainAlembic(self._settings, self._url)
        self._alembic.run("current", "")  # some env.py make the first tables by themselves
        return revision is None or self._alembic.run("upgrade", revision.id) is None

    def _forget(self) -> None:
        self._last = None
        if self._alembic is not None:
            self._alembic.close()
            self._alembic = None
        self._execute(f"DROP DATABASE IF EXISTS {self._name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        with connect(self._server, "second-opinion") as connection:
            execute(connection, statement)

    @property
    def _url(self) -> URL:
        return self._server.set(database=self._name)

    def _state(self) -> frozenset[str]:
        """Return schema and rows, each row as JSON with its keys in order."""
        return self._schema() | self._rows()

    def _schema(self) -> frozenset[str]:
        url = self._url
        argv = [self._programs.pg_dump, "--schema-only", "--no-owner", "--exclude-table=*alembic_version"]
        argv += [f"--host={url.host}", f"--port={url.port}", f"--username={url.username}", str(url.database)]
        environment = os.environ | {"PGPASSWORD": url.password or ""}
        return statements(
            subprocess.run(argv, env=environment, check=True, capture_output=True, text=True).stdout
        )

    def _rows(self) -> frozenset[str]:
        found = set()
        with connect(self._url, "second-opinion") as connection:
            for (table,) in fetch_all(connection, TABLES):
                rows = fetch_all(connection, f"SELECT to_jsonb(t)::text FROM {table} AS t ORDER BY 1")
                found |= {f"{ROW}{number} of {table}: {text}" for number, (text,) in enumerate(rows)}
        return frozenset(found)


def _target(step: Revision, steps: Sequence[Revision]) -> str:
    """Name what is below a revision, so that branches beside it stay where they are.

    Below a merge that is the branch which ends there: from where another one begins, that would go as well.
    """
    begun = {down for other in steps if other.id != step.id for down in other.down}
    down = [one for one in step.down if one not in begun] or [*step.down, "base"]
    return f"{step.id}@{down[0]}"
