"""A small shop with an Alembic project of its own, to be migrated and broken on purpose."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy.engine import URL

from lockkeeper.config import AlembicSettings, LocalStorageSettings, Policies, StorageSettings, Target
from lockkeeper.engine import Engine
from lockkeeper.models import (
    Approval,
    DataFingerprint,
    Decision,
    RunReport,
    SchemaFingerprint,
    utc_now,
)
from lockkeeper.postgres.connection import connect, execute
from lockkeeper.postgres.fingerprint import (
    compare_data,
    compare_schemas,
    data_fingerprint,
    schema_fingerprint,
)
from lockkeeper.record import new_run_id
from lockkeeper.runbook import MigrationRequest, run_migration

ENV_PY = """
import os
from alembic import context
from sqlalchemy import create_engine, pool

engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
SHOP_SQL = """
CREATE TABLE users (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL UNIQUE, balance int);
CREATE TABLE orders (id int PRIMARY KEY, user_id int REFERENCES users, note text);
INSERT INTO users (email, balance) SELECT 'user' || n || '@example.org', n FROM generate_series(1, 500) n;
INSERT INTO orders SELECT n, 1 + n % 500, 'note ' || n FROM generate_series(1, 1000) n;
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('base0');
"""


@dataclass
class Shop:
    """One database, its project in ``folder``, and what it was when it was made."""

    url: URL
    folder: Path
    target: Target
    schema: SchemaFingerprint = field(init=False)
    data: DataFingerprint = field(init=False)
    _last: str = "base0"

    def remember(self) -> None:
        self.schema, self.data = self.fingerprints()

    def fingerprints(self) -> tuple[SchemaFingerprint, DataFingerprint]:
        with connect(self.url, "tests") as connection:
            schema = schema_fingerprint(connection)
        return schema, data_fingerprint(self.url)

    def differences(self) -> list[str]:
        """What differs from how the database was when it was made."""
        schema, data = self.fingerprints()
        return compare_schemas(self.schema, schema) + compare_data(self.data, data)

    def add_revision(self, name: str, upgrade: str, downgrade: str = "pass") -> str:
        body = (
            f'revision = "{name}"\ndown_revision = {self._last!r}\n'
            "import os, time, signal\nfrom alembic import op\nimport sqlalchemy as sa\n\n"
            f"def upgrade():\n{textwrap.indent(textwrap.dedent(upgrade).strip(), '    ')}\n\n"
            f"def downgrade():\n{textwrap.indent(textwrap.dedent(downgrade).strip(), '    ')}\n"
        )
        (self.folder / "scripts" / "versions" / f"{name}.py").write_text(body)
        self._last = name
        return name

    def add_rule(self, name: str, query: str) -> None:
        (self.folder / "rules" / f"{name}.sql").write_text(query)

    def with_policies(self, **policies: object) -> None:
        changed = self.target.policies.model_copy(update=policies)
        self.target = self.target.model_copy(update={"policies": changed})

    def migrate(
        self, revision: str = "head", engine_type: type[Engine] = Engine, approving: str | None = None
    ) -> RunReport:
        """Play the runbook and return its report; ``approving`` is the id of a run that has asked."""
        run_id = new_run_id()
        engine = engine_type(self.target, run_id)
        answered = None if approving is None else engine.answered(approving, approval(approving))
        request = MigrationRequest(
            run_id=run_id,
            target=self.target.name,
            database=self.target.database,
            revision=revision,
            initiator="tests",
            recovery=self.target.policies.recovery,
            rehearsal=self.target.policies.rehearsal,
            approval=self.target.policies.approval,
            answered=answered,
        )
        return run_migration(engine, request)


def approval(key: str, decision: Decision = Decision.APPROVE) -> Approval:
    return Approval(key=key, decision=decision, reason="quiet", approver="ada", decided_at=utc_now())


def write_project(folder: Path) -> None:
    (folder / "scripts" / "versions").mkdir(parents=True)
    (folder / "rules").mkdir()
    (folder / "alembic.ini").write_text("[alembic]\nscript_location = scripts\n")
    (folder / "scripts" / "env.py").write_text(ENV_PY)
    (folder / "scripts" / "script.py.mako").write_text("")
    base = 'revision = "base0"\ndown_revision = None\ndef upgrade(): pass\ndef downgrade(): pass\n'
    (folder / "scripts" / "versions" / "base0.py").write_text(base)


@pytest.fixture
def make_shop(make_database: Callable[..., URL], tmp_path: Path) -> Callable[..., Shop]:
    """Return a function: server (and storage) -> a filled shop."""

    def make(server, storage: StorageSettings | None = None, **target_options: object) -> Shop:
        url = make_database(server)
        folder = tmp_path / str(url.database)
        write_project(folder)
        with connect(url, "tests") as connection:
            execute(connection, SHOP_SQL)
        target = Target(
            name="shop",
            database_url=SecretStr(url.render_as_string(hide_password=False)),
            alembic=AlembicSettings(config_file=folder / "alembic.ini", rules_dir=folder / "rules"),
            storage=storage or LocalStorageSettings(path=folder / "storage"),
            # What a rehearsal finds never reaches the recovery, which is what most tests are about; and most
            # are about what happens where nothing is captured.
            policies=Policies(
                lock_timeout_ms=200, lock_retries=2, retry_base_delay_s=0.05, rehearsal="off", capture="off"
            ),
            **target_options,
        )
        shop = Shop(url, folder, target)
        shop.remember()
        return shop

    return make


@pytest.fixture
def shop(server, make_shop) -> Shop:
    """A filled shop on the default server with a folder for its backups."""
    return make_shop(server)
