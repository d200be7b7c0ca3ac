"""Public packages with Alembic histories that run on PostgreSQL, and what each needs before its env.py.

Nothing of theirs is here: a package is installed into an environment of its own, and its revisions and its
env.py are run as they are. Some packages start Alembic from a program of their own, which prepares what
env.py expects; ``prelude`` is that preparation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class History:
    """One package's history.

    Attributes:
        requirements: what is installed; the first is the package.
        scripts: the folder with env.py, below site-packages.
        versions: folders of revisions (globs below ``scripts``), where they are not ``versions``.
        prelude: Python that runs before env.py; ``config`` is Alembic's and ``URL`` the database's.
        closing: Python that runs after env.py.
        run: how env.py is run; ``ENV_PY`` is its path.
        url_env: the variable in which the project looks for the URL.
        environment: further variables.
    """

    requirements: tuple[str, ...]
    scripts: str
    versions: tuple[str, ...] = ()
    prelude: str = ""
    closing: str = ""
    run: str = "runpy.run_path(ENV_PY)"
    url_env: str | None = None
    driver: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


PSYCOPG2 = "psycopg2-binary"
OLD_SETUPTOOLS = "setuptools<80"


def openstack(package: str, scripts: str, **settings: object) -> History:
    """Return a history whose env.py takes the URL from OpenStack's global configuration."""
    prelude = str(settings.pop("prelude", ""))
    return History(
        (package, PSYCOPG2, OLD_SETUPTOOLS),
        scripts,
        prelude=f"""
from oslo_config import cfg
from oslo_db import options
options.set_defaults(cfg.CONF)
cfg.CONF.set_override("connection", URL, group="database")
{prelude}""",
        **settings,  # type: ignore[arg-type]
    )


HISTORIES: dict[str, History] = {
    "optuna": History(("optuna", "sqlalchemy<2.1", PSYCOPG2), "optuna/storages/_rdb/alembic"),
    "mlflow": History(
        ("mlflow-skinny", "sqlalchemy<2.1", "alembic", PSYCOPG2),
        "mlflow/store/db_migrations",
        prelude="""
from sqlalchemy import create_engine, inspect
from mlflow.store.db.utils import _all_tables_exist  # noqa: F401
from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase
engine = create_engine(URL)
if "alembic_version" not in inspect(engine).get_table_names():
    InitialBase.metadata.create_all(engine)
engine.dispose()""",
    ),
    "airflow": History(
        ("apache-airflow<3", PSYCOPG2),
        "airflow/migrations",
        url_env="AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
        environment={"AIRFLOW_HOME": "/tmp/lockkeeper-airflow"},
    ),
    "airflow3": History(
        ("apache-airflow>=3", PSYCOPG2, "asyncpg"),
        "airflow/migrations",
        url_env="AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
        driver="psycopg2",
        environment={"AIRFLOW_HOME": "/tmp/lockkeeper-airflow3"},
    ),
    "phoenix": History(("arize-phoenix", "asyncpg", PSYCOPG2), "phoenix/db/migrations", driver="asyncpg"),
    "prefect": History(
        ("prefect>=3,<3.9", "fastapi<0.151"),
        "prefect/server/database/_migrations",
        versions=("versions/postgresql",),
        url_env="PREFECT_API_DATABASE_CONNECTION_URL",
        driver="asyncpg",
        environment={"PREFECT_HOME": "/tmp/lockkeeper-prefect"},
        prelude="import anyio",
        run="anyio.run(anyio.to_thread.run_sync, runpy.run_path, ENV_PY)",
    ),
    "langflow": History(
        ("langflow-base", PSYCOPG2, "psycopg[binary]"),
        "langflow/alembic",
        driver="psycopg",
        environment={"LANGFLOW_CONFIG_DIR": "/tmp/lockkeeper-langflow", "DO_NOT_TRACK": "true"},
    ),
    "argilla": History(
        ("argilla-server", "asyncpg", PSYCOPG2),
        "argilla_server/alembic",
        url_env="ARGILLA_DATABASE_URL",
        driver="asyncpg",
        environment={"ARGILLA_HOME_PATH": "/tmp/lockkeeper-argilla"},
    ),
    "superset": History(
        ("apache-superset", "flask-caching<2.4", PSYCOPG2),
        "superset/migrations",
        prelude="""
from flask import has_app_context
if not has_app_context():
    import os, tempfile
    name = tempfile.mkstemp(suffix=".py")[1]
    with open(name, "w") as file:
        file.write(f"SQLALCHEMY_DATABASE_URI = {URL!r}\\nSECRET_KEY = 'only-for-a-benchmark-' * 3\\n")
    os.environ["SUPERSET_CONFIG_PATH"] = name
    from superset.app import create_app
    create_app().app_context().push()""",
    ),
    "privacyidea": History(
        ("privacyidea", PSYCOPG2),
        "privacyidea/migrations",
        prelude="""
from flask import has_app_context
if not has_app_context():
    import os, tempfile
    name = tempfile.mkstemp(suffix=".cfg")[1]
    with open(name, "w") as file:
        file.write(f"SQLALCHEMY_DATABASE_URI = {URL!r}\\nSECRET_KEY = 'x'\\nPI_PEPPER = 'x'\\n")
    os.environ["PRIVACYIDEA_CONFIGFILE"] = name
    from privacyidea.app import create_app
    create_app(config_name="production", config_file=name, silent=True).app_context().push()""",
    ),
    "ckan": History(("ckan[requirements]", PSYCOPG2, OLD_SETUPTOOLS), "ckan/migration"),
    "aiida": History(
        ("aiida-core",),
        "aiida/storage/psql_dos/migrations",
        prelude="""
from sqlalchemy import create_engine
config.attributes["connection"] = create_engine(URL).connect()
config.attributes["aiida_profile"] = object()""",
        closing="""
config.attributes["connection"].commit()
config.attributes["connection"].close()""",
    ),
    "dagster": History(
        ("dagster", PSYCOPG2),
        "dagster/_core/storage/alembic",
        prelude="""
from sqlalchemy import create_engine
config.attributes["connection"] = create_engine(URL).connect()""",
        closing="""
config.attributes["connection"].commit()
config.attributes["connection"].close()""",
    ),
    "rucio": History(
        ("rucio", PSYCOPG2),
        "rucio/db/sqla/migrate_repo",
        prelude="""
import os, tempfile
if "RUCIO_CONFIG" not in os.environ:
    name = tempfile.mkstemp(suffix=".cfg")[1]
    with open(name, "w") as file:
        file.write(f"[database]\\ndefault = {URL}\\n[policy]\\npermission = generic\\nschema = generic\\n")
    os.environ["RUCIO_CONFIG"] = name""",
    ),
    "jupyterhub": History(("jupyterhub", PSYCOPG2), "jupyterhub/alembic"),
    "buildbot": History(("buildbot", PSYCOPG2), "buildbot/db/migrations"),
    "zuul": History(("zuul", PSYCOPG2), "zuul/driver/sql/alembic"),
    "mailman": History(
        ("mailman", PSYCOPG2),
        "mailman/database/alembic",
        prelude="""
import os, tempfile
from mailman.config import config as mailman_config
if not hasattr(mailman_config, "database"):
    folder = tempfile.mkdtemp()
    name = os.path.join(folder, "mailman.cfg")
    with open(name, "w") as file:
        file.write(f"[mailman]\\nlayout: here\\n[paths.here]\\nvar_dir: {folder}\\n[database]\\n"
                   f"class: mailman.database.postgresql.PostgreSQLDatabase\\nurl: {URL}\\n")
    from mailman.core.initialize import initialize_1
    initialize_1(name)""",
    ),
    "gnocchi": History(
        ("gnocchi[postgresql]", PSYCOPG2, OLD_SETUPTOOLS),
        "gnocchi/indexer/alembic",
        prelude="""
import tempfile
from gnocchi import service
name = tempfile.mkstemp(suffix=".conf")[1]
with open(name, "w") as file:
    file.write(f"[indexer]\\nurl = {URL}\\n[storage]\\nfile_basepath = {tempfile.gettempdir()}\\n")
config.conf = service.prepare_service([], default_config_files=[name])""",
    ),
    "fief": History(
        ("fief-server",),
        "fief/alembic",
        versions=("main_versions",),
        prelude="""
config.set_main_option("target_base", "MainBase")
config.set_main_option("version_table_name", "fief_alembic_version")
config.attributes["table_prefix"] = "fief_"
""",
        environment={
            "SECRET": "only for a benchmark",
            "ENCRYPTION_KEY": "A" * 43 + "=",
            "FIEF_CLIENT_ID": "a",
            "FIEF_CLIENT_SECRET": "b",
        },
    ),
    "keystone": openstack(
        "keystone",
        "keystone/common/sql/migrations",
        versions=("versions", "versions/*/expand", "versions/*/contract"),
        prelude="""
import keystone.conf
keystone.conf.configure()
config.attributes["configure_logger"] = False""",
    ),
    "neutron": openstack(
        "neutron",
        "neutron/db/migration/alembic_migrations",
        versions=("versions", "versions/*/expand", "versions/*/contract"),
        prelude="""
from neutron.conf.db import l3_dvr_db  # noqa: F401
config.neutron_config = cfg.CONF""",
    ),
    "barbican": openstack(
        "barbican",
        "barbican/model/migration/alembic_migrations",
        prelude="config.barbican_sqlalchemy_url = URL",
    ),
    "glance": openstack("glance", "glance/db/sqlalchemy/alembic_migrations"),
    "cinder": openstack("cinder", "cinder/db/migrations"),
    "ironic": openstack("ironic", "ironic/db/sqlalchemy/alembic"),
    "octavia": openstack(
        "octavia", "octavia/db/migration/alembic_migrations", prelude="config.octavia_config = cfg.CONF"
    ),
    "magnum": openstack("magnum", "magnum/db/sqlalchemy/alembic"),
    "manila": openstack("manila", "manila/db/migrations/alembic"),
    "nova": openstack("nova", "nova/db/main/migrations"),
    "nova-api": openstack("nova", "nova/db/api/migrations"),
    "heat": openstack("openstack-heat", "heat/db/migrations"),
    "designate": openstack("designate", "designate/storage/sqlalchemy/alembic"),
    "cyborg": openstack("openstack-cyborg", "cyborg/db/sqlalchemy/alembic"),
    "mistral": openstack(
        "mistral",
        "mistral/db/sqlalchemy/migration/alembic_migrations",
        prelude="import mistral.config  # noqa: F401\nconfig.mistral_config = cfg.CONF",
    ),
    "subunit2sql": openstack(
        "subunit2sql", "subunit2sql/migrations", prelude="config.subunit2sql_config = cfg.CONF"
    ),
}
