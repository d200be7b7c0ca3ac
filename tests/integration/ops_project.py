"""A small real Alembic project, written to a folder and run as `alembic` runs it, in this process."""

from __future__ import annotations

import io
import os
import signal
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from alembic import command
from alembic.config import Config
from sqlalchemy import MetaData
from sqlalchemy.engine import URL

ENV = """
import asyncio, os
import sqlalchemy as sa
from alembic import context
import lockkeeper.ops

config = context.config
options = config.attributes
configured = dict(
    target_metadata=options.get("metadata"),
    transaction_per_migration=options["per_migration"],
    lockkeeper_lock_policy=options.get("policy"),
    process_revision_directives=lockkeeper.ops.online_directives,
    compare_server_default=True,
    include_schemas=False,
)

def run(connection):
    if options.get("foreign_transaction"):
        connection.execute(sa.text("SELECT 1"))
    context.configure(connection=connection, **configured)
    with context.begin_transaction():
        context.run_migrations()

async def run_async(url):
    engine = sa.ext.asyncio.create_async_engine(url, poolclass=sa.pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()

url = options["url"]
if context.is_offline_mode():
    context.configure(url=url, literal_binds=True, **configured)
    with context.begin_transaction():
        context.run_migrations()
elif url.drivername.endswith("asyncpg"):
    import sqlalchemy.ext.asyncio
    asyncio.run(run_async(url))
else:
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    hook = options.get("listener")
    if hook:
        sa.event.listen(engine, "before_cursor_execute", hook)
    with engine.connect() as connection:
        run(connection)
    engine.dispose()
"""

SCRIPT = """
import sqlalchemy as sa
import lockkeeper.ops
from alembic import op

revision = {revision!r}
down_revision = {down!r}

def upgrade():
{upgrade}

def downgrade():
{downgrade}
"""

MAKO = """
from alembic import op
import sqlalchemy as sa
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}

def upgrade():
    ${upgrades if upgrades else "pass"}

def downgrade():
    ${downgrades if downgrades else "pass"}
"""


@dataclass
class Project:
    """One Alembic project on one database."""

    folder: Path
    url: URL
    driver: str = "psycopg2"
    per_migration: bool = True
    policy: Any = None
    metadata: MetaData | None = None
    foreign_transaction: bool = False
    listener: Any = None
    head: str | None = None

    def __post_init__(self) -> None:
        (self.folder / "versions").mkdir(exist_ok=True)
        (self.folder / "env.py").write_text(ENV)
        (self.folder / "script.py.mako").write_text(MAKO)

    def config(self, output: io.StringIO | None = None) -> Config:
        config = Config(output_buffer=output or io.StringIO(), stdout=io.StringIO())
        config.set_main_option("script_location", str(self.folder))
        config.set_main_option("path_separator", "os")
        config.attributes.update(
            url=self.url.set(drivername=f"postgresql+{self.driver}"), per_migration=self.per_migration,
            policy=self.policy, metadata=self.metadata, foreign_transaction=self.foreign_transaction,
            listener=self.listener,
        )  # fmt: skip
        return config

    def revision(self, name: str, upgrade: str, downgrade: str = "pass") -> None:
        """Write the next revision."""
        bodies = {"upgrade": upgrade, "downgrade": downgrade}
        indented = {key: textwrap.indent(textwrap.dedent(body), "    ") for key, body in bodies.items()}
        script = SCRIPT.format(revision=name, down=self.head, **indented)
        (self.folder / "versions" / f"{name}.py").write_text(script)
        self.head = name

    def upgrade(self, to: str = "head") -> None:
        command.upgrade(self.config(), to)

    def downgrade(self, to: str) -> None:
        command.downgrade(self.config(), to)

    def stamp(self, to: str) -> None:
        command.stamp(self.config(), to)

    def sql(self, to: str = "head") -> str:
        output = io.StringIO()
        command.upgrade(self.config(output), to, sql=True)
        return output.getvalue()

    def autogenerate(self, message: str) -> list[str]:
        """Return the written scripts' texts, in order."""
        made = command.revision(self.config(), message=message, autogenerate=True)
        scripts = made if isinstance(made, list) else [made]
        return [Path(script.path).read_text() for script in scripts if script is not None]

    def check(self) -> None:
        command.check(self.config())

    def current(self) -> str | None:
        rows = query(self.url, "SELECT version_num FROM alembic_version")
        return rows[0][0] if rows else None

    def upgrade_killed_at(self, statement_number: int) -> bool:
        """Upgrade in a child that kills itself before its n-th changing statement; whether it was killed."""
        child = os.fork()
        if child == 0:
            self.listener = KillAt(statement_number)
            try:
                self.upgrade()
            except BaseException:
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return True
        assert os.WEXITSTATUS(status) == 0
        return False


class KillAt:
    """Kills this process before its n-th statement that changes something."""

    CHANGING = ("CREATE", "ALTER", "DROP", "UPDATE", "INSERT", "COMMIT")

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith(self.CHANGING) and "TEMP" not in statement.upper():
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def connect(url: URL) -> Any:
    connection = psycopg2.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
    connection.autocommit = True
    return connection


def query(url: URL, sql: str) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows, if it has any."""
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()
