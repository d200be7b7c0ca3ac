"""What a capture leaves in a backup: taken away again where the backup comes to serve without it."""

from __future__ import annotations

from psycopg2 import sql

from lockkeeper.models import BackupManifest
from lockkeeper.postgres.connection import Connection, execute, fetch_all

_PUBLICATIONS = r"SELECT pubname FROM pg_catalog.pg_publication WHERE pubname LIKE 'lockkeeper\_%'"


def forget_capture(connection: Connection, manifest: BackupManifest) -> None:
    """Drop our publication in a restored copy and give its tables their own replica identity; can run twice.

    Raises:
        DatabaseError: not permitted.
    """
    if not manifest.captured:
        return
    for (name,) in fetch_all(connection, _PUBLICATIONS):
        execute(connection, sql.SQL("DROP PUBLICATION {}").format(sql.Identifier(name)))
    for table, identity in manifest.former_identities.items():
        statement = "ALTER TABLE ONLY {} REPLICA IDENTITY {}"  # both are SQL already, as the catalogue quotes
        execute(connection, sql.SQL(statement).format(sql.SQL(table), sql.SQL(identity)))
