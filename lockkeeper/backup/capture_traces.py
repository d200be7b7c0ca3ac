"""What a capture leaves in a backup: taken away again where the backup comes to serve without it."""

from __future__ import annotations

from psycopg2 import sql

from lockkeeper.models import BackupManifest, SchemaFingerprint
from lockkeeper.postgres.connection import Connection, execute, fetch_all

_PUBLICATIONS = r"SELECT pubname FROM pg_catalog.pg_publication WHERE pubname LIKE 'lockkeeper\_%'"
_OWN_PUBLICATION = "lockkeeper_"
_IDENTITY = "replica identity"


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


def without_capture(schema: SchemaFingerprint) -> SchemaFingerprint:
    """Return a schema without what a capture changes in it: its publication, and replica identities."""
    objects = {kind: dict(found) for kind, found in schema.objects.items()}
    for kind in ("publication", "publication member", "publication schema", "comment"):
        objects[kind] = {
            name: one
            for name, one in objects.get(kind, {}).items()
            if not name.startswith(_OWN_PUBLICATION)
            and f"publication {_OWN_PUBLICATION}" not in f"{name} {one}"
        }
    objects["table"] = {
        name: {key: value for key, value in one.items() if key != _IDENTITY}
        for name, one in objects.get("table", {}).items()
    }
    return SchemaFingerprint(objects=objects)
