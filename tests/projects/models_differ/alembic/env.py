from alembic import context
from sqlalchemy import Column, Integer, MetaData, String, Table, Text, engine_from_config, pool

config = context.config

target_metadata = MetaData()
Table(
    "accounts",
    target_metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("email", String(100)),
    Column("phone", Text),
)
Table("orders", target_metadata, Column("id", Integer, primary_key=True))


def include_object(item, name, kind, reflected, compare_to):
    return name != "ignored"


def run_migrations_offline() -> None:
    context.configure(
        url=config.get_main_option("sqlalchemy.url"),
        literal_binds=True,
        target_metadata=target_metadata,
        include_object=include_object,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_migrations_online() -> None:
    connectable = engine_from_config(
        config.get_section(config.config_ini_section, {}), prefix="sqlalchemy.", poolclass=pool.NullPool
    )
    with connectable.connect() as connection:
        context.configure(
            connection=connection, target_metadata=target_metadata, include_object=include_object
        )
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
