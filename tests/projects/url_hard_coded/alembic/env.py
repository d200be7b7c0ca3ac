from pathlib import Path

from alembic import context
from sqlalchemy import create_engine, pool


def run_migrations_online() -> None:
    with create_engine(
        (Path(__file__).parent / "OTHER_URL").read_text(), poolclass=pool.NullPool
    ).connect() as connection:
        connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS audit")
        connection.commit()
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()


run_migrations_online()
