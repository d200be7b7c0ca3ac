# ruff: noqa: E402
"""One Prefect server for all tests of the flows; targets of their own; a Slack that is only a socket away.

The environment is set before Prefect is imported: its settings are read once, and the user's own Prefect
must neither see these runs nor decide anything about them.
"""

from __future__ import annotations

import os
import tempfile

_HOME = tempfile.mkdtemp(prefix="lockkeeper-prefect-")
for _name in [name for name in os.environ if name.startswith("PREFECT_")]:
    del os.environ[_name]
os.environ.update(
    PREFECT_HOME=_HOME,
    PREFECT_PROFILES_PATH=os.path.join(_HOME, "profiles.toml"),
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="240",
    PREFECT_SERVER_LOGGING_LEVEL="ERROR",
    PREFECT_UI_URL="http://prefect.example",
    DO_NOT_TRACK="1",
)

import json
import shutil
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.testing.utilities import prefect_test_harness
from prefect_aws import AwsCredentials, S3Bucket
from prefect_slack import SlackWebhook
from sqlalchemy.engine import URL

from lockkeeper.local.s3_server import EmbeddedS3
from lockkeeper.postgres.connection import connect, execute, fetch_all
from tasks.blocks import MigrationTarget

POLICIES = {"lock_timeout_ms": 200, "lock_retries": 2, "retry_base_delay_s": 0.05, "rehearsal": "off"}
"""What a rehearsal finds never reaches the recovery, which is what most of these tests are about."""
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
CREATE TABLE users (id int PRIMARY KEY, email text NOT NULL UNIQUE, balance int);
INSERT INTO users SELECT n, 'user' || n || '@example.org', n FROM generate_series(1, 200) n;
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('base0');
"""


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """A Prefect server on SQLite, for the whole session; yields the path of its database file."""
    from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL

    with prefect_test_harness(server_startup_timeout=240):
        yield str(PREFECT_SERVER_DATABASE_CONNECTION_URL.value()).split("///", 1)[1]
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture
def api(prefect_server: str) -> Iterator[SyncPrefectClient]:
    """A client of that server."""
    with get_client(sync_client=True) as client:
        yield client


@dataclass
class SlackReceiver:
    """What Slack's endpoint is to us: an address that takes JSON. ``answer`` decides how it behaves."""

    url: str = ""
    status: int = 200
    hang: threading.Event | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)
    attempts: int = 0
    retry_after_s: int | None = None
    close: Callable[[], None] = lambda: None

    def wait_for(self, count: int, timeout_s: float = 10) -> list[dict[str, Any]]:
        """Wait until ``count`` messages were taken."""
        deadline = time.monotonic() + timeout_s
        while len(self.messages) < count and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        return self.messages


@pytest.fixture
def slack() -> Iterator[SlackReceiver]:
    """A real HTTP server on the loopback address in Slack's place."""
    receiver = SlackReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.attempts += 1
            if receiver.hang is not None:
                receiver.hang.wait(30)
                return
            if receiver.status == 200:
                receiver.messages.append(json.loads(body))
            self.send_response(receiver.status)
            if receiver.retry_after_s is not None:
                self.send_header("Retry-After", str(receiver.retry_after_s))
            self.end_headers()
            self.wfile.write(b"ok" if receiver.status == 200 else b"no")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/services/T0/B0"

    def close() -> None:
        if thread.is_alive():
            server.shutdown()
            thread.join()
            server.server_close()

    receiver.close = close
    yield receiver
    if receiver.hang is not None:
        receiver.hang.set()
    close()


@dataclass
class Shop:
    """One database with its Alembic project and its block."""

    name: str
    url: URL
    folder: Path
    last: str = "base0"

    def add_revision(self, name: str, upgrade: str, downgrade: str = "pass") -> None:
        body = (
            f'revision = "{name}"\ndown_revision = {self.last!r}\n'
            "import os\nimport time\nfrom alembic import op\n\n"
            f"def upgrade():\n{textwrap.indent(textwrap.dedent(upgrade).strip(), '    ')}\n\n"
            f"def downgrade():\n{textwrap.indent(textwrap.dedent(downgrade).strip(), '    ')}\n"
        )
        (self.folder / "scripts" / "versions" / f"{name}.py").write_text(body)
        self.last = name

    def add_rule(self, name: str, query: str) -> None:
        (self.folder / "rules" / f"{name}.sql").write_text(query)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with connect(self.url, "tests") as connection:
            return fetch_all(connection, statement)

    def execute(self, statement: str) -> None:
        with connect(self.url, "tests") as connection:
            execute(connection, statement)

    def columns(self) -> list[str]:
        """The columns of users, in order of their names."""
        statement = "SELECT column_name FROM information_schema.columns WHERE table_name = 'users' ORDER BY 1"
        return [row[0] for row in self.query(statement)]


def write_project(folder: Path) -> None:
    (folder / "scripts" / "versions").mkdir(parents=True)
    (folder / "rules").mkdir()
    (folder / "alembic.ini").write_text("[alembic]\nscript_location = scripts\n")
    (folder / "scripts" / "env.py").write_text(ENV_PY)
    base = 'revision = "base0"\ndown_revision = None\ndef upgrade(): pass\ndef downgrade(): pass\n'
    (folder / "scripts" / "versions" / "base0.py").write_text(base)


@pytest.fixture(scope="session")
def block_type(prefect_server: str) -> dict[str, str]:
    """The registered block type, as the UI names it when it saves a block."""
    MigrationTarget.register_type_and_schema()
    return {
        "block_type_id": str(MigrationTarget._block_type_id),
        "block_schema_id": str(MigrationTarget._block_schema_id),
    }


@pytest.fixture
def make_shop(
    block_type: dict[str, str],
    api: SyncPrefectClient,
    server: Any,
    make_database: Callable[..., URL],
    slack: SlackReceiver,
    tmp_path: Path,
) -> Callable[..., Shop]:
    """Return a function: block fields (and a login) -> a filled shop, its block saved as the UI does.

    (``save_block`` registers every type again, which takes seconds; ``test_blocks`` tests it.)
    """

    def make(login: URL | None = None, **fields: Any) -> Shop:
        url = make_database(server)
        folder = tmp_path / str(url.database)
        write_project(folder)
        shop = Shop(str(url.database).replace("_", "-"), url, folder)
        shop.execute(SHOP_SQL)
        data = {
            "database_url": (login or url).set(database=url.database).render_as_string(hide_password=False),
            "alembic": {"config_file": str(folder / "alembic.ini"), "rules_dir": str(folder / "rules")},
            "storage_folder": str(folder / "storage"),
            "slack": {"block_type_slug": SlackWebhook.get_block_type_slug(), "url": slack.url},
            **fields,
            # A capture costs seconds; the tests that are about it switch it on.
            "policies": {"capture": "off", **fields.get("policies", POLICIES)},
        }
        body = {"name": shop.name, "data": data, **block_type}
        api._client.post("/block_documents/", json=body).raise_for_status()
        return shop

    return make


@pytest.fixture
def bucket(s3: EmbeddedS3) -> dict[str, Any]:
    """A bucket's fields, as they stand in a block document."""
    settings = s3.settings("flows")
    credentials = {
        "block_type_slug": AwsCredentials.get_block_type_slug(),
        "aws_access_key_id": settings.access_key_id.get_secret_value(),
        "aws_secret_access_key": settings.secret_access_key.get_secret_value(),
        "region_name": settings.region,
        "aws_client_parameters": {"endpoint_url": settings.endpoint_url},
    }
    slug = S3Bucket.get_block_type_slug()
    return {"block_type_slug": slug, "bucket_name": "flows", "credentials": credentials}


@pytest.fixture
def shop(make_shop: Callable[..., Shop]) -> Shop:
    """A filled shop with a folder for its backups and a Slack channel."""
    return make_shop()


@pytest.fixture
def deployed(api: SyncPrefectClient) -> Callable[..., UUID]:
    """Return a function: flow (and parameters) -> id of a new run of a deployment of it."""

    def make(a_flow: Any, **parameters: Any) -> UUID:
        flow_id = api.create_flow_from_name(a_flow.name)
        deployment = api.create_deployment(flow_id, f"{a_flow.name}-tests", entrypoint="none")
        return api.create_flow_run_from_deployment(deployment, parameters=parameters).id

    return make
