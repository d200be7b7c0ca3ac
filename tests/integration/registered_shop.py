"""A database with its Alembic project and a registry that knows it, and the program run on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL

from lockkeeper.local.postgres_server import EmbeddedPostgres
from lockkeeper.postgres.connection import connect, execute, fetch_all, fetch_value
from lockkeeper.registry import Registry, make_entry

LOCKKEEPER = Path(sys.executable).with_name("lockkeeper")
REVISIONS = {
    "base0": (None, "pass", "pass"),
    "good1": (
        "base0",
        "op.add_column('users', sa.Column('status', sa.Text))\n"
        "    op.execute(\"UPDATE users SET status = 'on'\")",
        "op.drop_column('users', 'status')",
    ),
    "slow3": ("good1", "op.execute('CREATE TABLE half (id int); SELECT pg_sleep(120)')", "pass"),
}
ENV_PY = """
import os
from alembic import context
from sqlalchemy import create_engine, pool

with create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
SHOP_SQL = """
CREATE TABLE users (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL);
INSERT INTO users (email) SELECT 'user' || n || '@example.org' FROM generate_series(1, 200) n;
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('base0');
"""


@dataclass
class Shop:
    """A database, its Alembic project, and a registry in which it is called ``shop``."""

    url: URL
    folder: Path
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.environment = {
            **os.environ,
            "LOCKKEEPER_HOME": str(self.folder / "home"),
            "SHOP_URL": self.url.render_as_string(hide_password=False),
        }
        scripts = self.folder / "scripts"
        (scripts / "versions").mkdir(parents=True)
        (scripts / "env.py").write_text(ENV_PY)
        (self.folder / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/scripts\n")
        for name, (down, upgrade, downgrade) in REVISIONS.items():
            (scripts / "versions" / f"{name}.py").write_text(
                f"from alembic import op\nimport sqlalchemy as sa\n"
                f"revision = {name!r}\ndown_revision = {down!r}\n"
                f"def upgrade():\n    {upgrade}\ndef downgrade():\n    {downgrade}\n"
            )
        with connect(self.url, "tests") as connection:
            execute(connection, SHOP_SQL)
        registered = {
            "database_url_env": "SHOP_URL",
            "alembic": {"config_file": self.folder / "alembic.ini"},
            "storage": {"kind": "local", "path": self.folder / "backups"},
            "policies": {"capture": "off"},
        }
        Registry(self.folder / "home" / "targets.toml").add("shop", make_entry("shop", registered))

    def described(self) -> Sequence[str]:
        return (
            "--database-url-env", "SHOP_URL", "--alembic", str(self.folder / "alembic.ini"),
            "--storage", str(self.folder / "backups"), "--set", "capture=off",
        )  # fmt: skip

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [LOCKKEEPER, *arguments],
            env={**self.environment, **environment},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def at_a_shell(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line that was printed, as it stands."""
        return subprocess.run(
            ["sh", "-c", line], env=self.environment, cwd="/", capture_output=True, text=True, check=False
        )

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments, **environment) as process:
            out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def document(self, *arguments: str, **environment: str) -> dict[str, Any]:
        """Run with --json; what is on stdout must be one document, and agree with the exit code."""
        done = self.run(*arguments, "--json", **environment)
        document: dict[str, Any] = json.loads(done.stdout)
        assert document["exit_code"] == done.returncode, done.stderr
        return document

    def value(self, query: str) -> Any:
        with connect(self.url, "tests") as connection:
            return fetch_value(connection, query)


def drop_all_of(server: EmbeddedPostgres, database: str) -> None:
    with connect(server.url(), "tests") as connection:
        pattern = database.replace("_", r"\_") + "%"
        rows = fetch_all(connection, "SELECT datname FROM pg_database WHERE datname LIKE %s", (pattern,))
        for (name,) in rows:
            execute(connection, f'DROP DATABASE "{name}" WITH (FORCE)')
