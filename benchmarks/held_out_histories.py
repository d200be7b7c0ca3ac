"""Further histories, written down before ``lockkeeper test`` had ever run on them."""

from __future__ import annotations

from benchmarks.histories import OLD_SETUPTOOLS, PSYCOPG2, History, openstack

HELD_OUT: dict[str, History] = {
    "zou": History(("zou", PSYCOPG2), "zou/migrations", environment={"SECRET_KEY": "only for a benchmark"}),
    "fides": History(
        ("ethyca-fides", PSYCOPG2, OLD_SETUPTOOLS),
        "fides/api/alembic/migrations",
        prelude="""
import os
from sqlalchemy.engine import make_url
url = make_url(URL)
parts = {"SERVER": url.host, "PORT": url.port, "USER": url.username, "PASSWORD": url.password or "x",
         "DB": url.database}
os.environ.update({f"FIDES__DATABASE__{key}": str(value) for key, value in parts.items()})""",
        environment={
            "FIDES__SECURITY__APP_ENCRYPTION_KEY": "only-for-a-benchmark-32-letters!",
            "FIDES__SECURITY__OAUTH_ROOT_CLIENT_ID": "root",
            "FIDES__SECURITY__OAUTH_ROOT_CLIENT_SECRET": "secret",
            "FIDES__SECURITY__DRP_JWT_SECRET": "secret",
        },
    ),
    "faraday": History(
        ("faradaysec", PSYCOPG2, OLD_SETUPTOOLS),
        "faraday/migrations",
        prelude="""
import os, pathlib, tempfile
if "FARADAY_HOME" not in os.environ:
    home = pathlib.Path(tempfile.mkdtemp(), ".faraday")
    for name in ("config", "logs", "session"):
        (home / name).mkdir(parents=True)
    (home / "config" / "server.ini").write_text(
        f"[database]\\nconnection_string = {URL}\\n[faraday_server]\\nsecret_key = x\\n"
        "agent_registration_secret = x\\n[storage]\\npath = " + str(home) + "\\n")
    os.environ["FARADAY_HOME"] = str(home.parent)""",
    ),
    "dstack": History(
        ("dstack[server]", PSYCOPG2, "asyncpg"),
        "dstack/_internal/server/migrations",
        versions=("versions/20*",),
        url_env="DSTACK_DATABASE_URL",
        driver="asyncpg",
        run='runpy.run_path(ENV_PY, run_name="env_py")',
        prelude="config.set_main_option('nothing', 'x')",
        environment={"DSTACK_SERVER_DIR": "/tmp/lockkeeper-dstack"},
    ),
    "datajunction": History(
        ("datajunction-server", PSYCOPG2, "psycopg[binary]", "greenlet"),
        "datajunction_server/alembic",
        url_env="DATABASE_URI",
        driver="psycopg",
    ),
    "mwdb": History(
        ("mwdb-core", PSYCOPG2, OLD_SETUPTOOLS),
        "mwdb/model/migrations",
        url_env="MWDB_POSTGRES_URI",
        prelude="""
from flask import has_app_context
if not has_app_context():
    from mwdb.app import app
    app.app_context().push()""",
        environment={
            "MWDB_SECRET_KEY": "x",
            "MWDB_BASE_URL": "http://127.0.0.1",
            "MWDB_REDIS_URI": "redis://",
            "MWDB_ENABLE_SSDEEP": "0",
        },
    ),
    "anitya": History(
        ("anitya", PSYCOPG2, OLD_SETUPTOOLS),
        "anitya/db/migrations",
        prelude="""
from anitya.config import config as anitya_config
anitya_config["SQLALCHEMY_DATABASE_URI"] = URL""",
    ),
    "irrd": History(
        ("irrd", PSYCOPG2, OLD_SETUPTOOLS),
        "irrd/storage/alembic",
        url_env="IRRD_DATABASE_URL",
        prelude="""
import irrd.conf
irrd.conf.config_init = lambda *_: None
irrd.conf.configuration = irrd.conf.Configuration.__new__(irrd.conf.Configuration)
for name in ("user_config_live", "user_config_staging"):
    setattr(irrd.conf.configuration, name, {})
irrd.conf.get_setting = lambda name, default=None: URL if name == "database_url" else default""",
    ),
    "mage": History(
        ("mage-ai", PSYCOPG2, OLD_SETUPTOOLS),
        "mage_ai/orchestration/db/migrations",
        prelude='config.set_section_option("logger_alembic", "level", "WARN")',
        environment={"HOME": "/tmp/lockkeeper-mage"},
    ),
    "meltano": History(("meltano", PSYCOPG2), "meltano/migrations"),
    "quetz": History(("quetz-server", PSYCOPG2, OLD_SETUPTOOLS), "quetz/migrations"),
    "tiled": History(("tiled[server]", "asyncpg", PSYCOPG2), "tiled/catalog/migrations", driver="asyncpg"),
    "tiled-authn": History(
        ("tiled[server]", "asyncpg", PSYCOPG2), "tiled/authn_database/migrations", driver="asyncpg"
    ),
    "tahrir": History(("tahrir-api", PSYCOPG2, OLD_SETUPTOOLS), "tahrir_api/migrations"),
    "grader": History(("grader-service", PSYCOPG2, "asyncpg"), "grader_service/migrate", driver="psycopg2"),
    "ziggurat": History(
        ("ziggurat-foundations", PSYCOPG2, OLD_SETUPTOOLS), "ziggurat_foundations/migrations"
    ),
    "cognee": History(("cognee", PSYCOPG2, "asyncpg", "greenlet"), "cognee/alembic", driver="asyncpg"),
    "invenio": History(
        (
            *("invenio-rdm-records", "invenio-db[postgresql]", "invenio-oauth2server", "invenio-webhooks"),
            *("invenio-pages", "invenio-banners", "invenio-search[opensearch2]", PSYCOPG2, OLD_SETUPTOOLS),
        ),
        ".",
        versions=("invenio_*/alembic",),
        prelude="from alembic import context\nfrom sqlalchemy import create_engine",
        run="""
with create_engine(URL).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()""",
    ),
    "zun": openstack("zun", "zun/db/sqlalchemy/alembic"),
    "blazar": openstack(
        "blazar", "blazar/db/migration/alembic_migrations", prelude="config.blazar_config = cfg.CONF"
    ),
    "sahara": openstack(
        "sahara", "sahara/db/migration/alembic_migrations", prelude="config.sahara_config = cfg.CONF"
    ),
    "watcher": openstack("python-watcher", "watcher/db/sqlalchemy/alembic"),
}
