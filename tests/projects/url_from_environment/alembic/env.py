import os

from alembic import context
from sqlalchemy import create_engine, pool


def run_migrations_online() -> None:
    with create_engine(os.environ["SHOP_DSN"], poolclass=pool.NullPool).connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()


run_migrations_online()
