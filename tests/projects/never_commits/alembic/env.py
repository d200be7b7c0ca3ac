from alembic import context
from sqlalchemy import create_engine, pool


def run_migrations_online() -> None:
    with create_engine(
        context.config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool
    ).connect() as connection:
        context.configure(connection=connection)
        context.run_migrations()


run_migrations_online()
