"""What belongs to a database but is not in its dump: owner, grants, settings, comment, connection limit."""

from __future__ import annotations

import re

from psycopg2 import sql

from lockkeeper.errors import DatabaseError
from lockkeeper.models import DatabaseProperties
from lockkeeper.postgres.connection import Connection, execute, fetch_all, fetch_one, named_query
from lockkeeper.postgres.databases import FENCED, READ_ONLY, Note

# Lists of names: their value is stored with the quotes of its elements (GUC_LIST_QUOTE, pg_dump/dumputils.c).
LIST_SETTINGS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)
_LIST_ELEMENT = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,]*?))\s*(?:,|$)')
_GRANTS = """
SELECT COALESCE(r.rolname, ''), a.privilege_type, a.is_grantable
FROM pg_catalog.aclexplode(%s::aclitem[]) AS a LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
"""


def read_properties(connection: Connection, database: str) -> DatabaseProperties:
    """Read the properties of a database, those that Lockkeeper lends it meanwhile left out.

    Any connection to its server will do.
    """
    row = fetch_one(connection, named_query("database_properties"), (database,))
    owner, encoding, collate, ctype, provider, locale, tablespace, limit, acl, comment = row
    settings = fetch_all(connection, named_query("database_settings"), (database,))
    while (note := Note.parse(comment)) is not None and note.lockkeeper in (FENCED, READ_ONLY):
        comment = note.former_comment
        if note.lockkeeper == READ_ONLY:
            settings = [one for one in settings if one[:2] != (None, "default_transaction_read_only")]
    return DatabaseProperties(
        owner=owner,
        encoding=encoding,
        collate=collate,
        ctype=ctype,
        locale_provider=provider,
        locale=locale,
        tablespace=tablespace,
        connection_limit=limit,
        acl=None if acl is None else tuple(acl),
        comment=comment,
        settings=tuple((role, name, value) for role, name, value in settings),
    )


def apply_properties(connection: Connection, database: str, properties: DatabaseProperties) -> None:
    """Give a copy the owner, grants, settings and connection limit of its original; not the comment.

    The comment stays Lockkeeper's note until the copy takes the original's place.

    Raises:
        DatabaseError: a role or a setting does not exist here, or is not ours to give; it is named.
    """
    name = sql.Identifier(database)
    for statement in _statements(connection, name, properties):
        try:
            execute(connection, statement)
        except DatabaseError as error:
            shown = statement.as_string(connection)
            raise DatabaseError(
                f"The copy cannot get a property of its original: {shown}: {error}. "
                "Give Lockkeeper's role what this needs (membership in the owner, or superuser).",
                error.sqlstate,
            ) from error


def _statements(
    connection: Connection, name: sql.Identifier, properties: DatabaseProperties
) -> list[sql.Composed]:
    statements = [
        sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, sql.Identifier(properties.owner)),
        sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(
            name, sql.Literal(properties.connection_limit)
        ),
    ]
    if properties.acl is not None:
        statements += [_revoke(name, sql.SQL("PUBLIC")), _revoke(name, sql.Identifier(properties.owner))]
        for grantee, privilege, grantable in fetch_all(connection, _GRANTS, (list(properties.acl),)):
            statement = sql.SQL("GRANT {} ON DATABASE {} TO {}{}")
            statements.append(
                statement.format(
                    sql.SQL(privilege),
                    name,
                    sql.Identifier(grantee) if grantee else sql.SQL("PUBLIC"),
                    sql.SQL(" WITH GRANT OPTION" if grantable else ""),
                )
            )
    statements += [_set(name, *setting) for setting in properties.settings]
    return statements


def _revoke(name: sql.Identifier, grantee: sql.Composable) -> sql.Composed:
    return sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(name, grantee)


def _set(name: sql.Identifier, role: str | None, parameter: str, value: str) -> sql.Composed:
    whose = sql.SQL("DATABASE {}").format(name)
    if role is not None:
        whose = sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(role), name)
    elements = split_list(value) if parameter in LIST_SETTINGS else [value]
    return sql.SQL("ALTER {} SET {} TO {}").format(
        whose,
        sql.SQL(".").join(sql.Identifier(part) for part in parameter.split(".")),
        sql.SQL(", ").join(sql.Literal(element) for element in elements),
    )


def split_list(value: str) -> list[str]:
    """Split a stored list of names: ``"$user", public`` -> ``$user``, ``public``; empty -> one empty."""
    elements = []
    for quoted, plain in _LIST_ELEMENT.findall(value):
        element = quoted.replace('""', '"') if quoted else plain
        if element:
            elements.append(element)
    return elements or [""]
