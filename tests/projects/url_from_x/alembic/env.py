from alembic import context
from sqlalchemy import create_engine, pool


def run_migrations_online() -> None:
    with create_engine(
        context.get_x_argument(as_dictionary=True)["db"], poolclass=pool.NullPool
    ).connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()


run_migrations_online()
