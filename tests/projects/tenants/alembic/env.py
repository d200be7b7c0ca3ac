from alembic import context
from sqlalchemy import create_engine, pool


def run_migrations_online() -> None:
    with create_engine(
        context.config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool
    ).connect() as connection:
        for schema in ("red", "blue"):
            connection.exec_driver_sql(f"SET search_path = {schema}")
            connection.commit()
            context.configure(connection=connection, version_table_schema=schema)
            with context.begin_transaction():
                context.run_migrations()


run_migrations_online()
