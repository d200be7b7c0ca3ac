"""Everything in the catalogue that matters, read in a form that two databases can be compared by.

Guarantees: no OIDs, no order, no text that depends on the session; the same before and after dump and
restore. System schemas, objects of extensions, temporary schemas, and everything physical (tablespaces, file
nodes, sizes, gathered statistics) are left out. Every query in ``queries/fingerprint/schema`` returns kind,
identity, the object that it belongs to, and properties; they run with an empty search_path, so names in
pg_catalog need no schema.
"""

from __future__ import annotations

from typing import Any

from lockkeeper.models import SchemaFingerprint
from lockkeeper.postgres.connection import Connection, fetch_all, named_query
from lockkeeper.postgres.fingerprint.session import pinned_settings

# What an object belongs to ("table public.users"): when that is missing too, only that is told.
BELONGS_TO = "of"
SERVER_KIND, SERVER_IDENTITY = "server", "PostgreSQL"

_QUERIES = (
    "schemas", "extensions", "tables", "columns", "constraints", "indexes", "sequences", "views", "functions",
    "triggers", "rules", "policies", "types", "statistics", "grants", "default_privileges", "comments",
    "publications", "event_triggers", "foreign_servers", "operators",
)  # fmt: skip
_QUERIES_UP_TO_14 = ("publication_tables_14",)
_QUERIES_FROM_15 = ("publication_tables_15", "publication_schemas_15")


def schema_fingerprint(connection: Connection) -> SchemaFingerprint:
    """Read the schema in one read-only transaction, or as the caller's open transaction sees it.

    Takes ACCESS SHARE on catalogues and, while it reads definitions, on the objects.

    Raises:
        DatabaseError: a query was refused.
    """
    objects: dict[str, dict[str, dict[str, Any]]] = {}
    version = connection.info.server_version
    objects[SERVER_KIND] = {SERVER_IDENTITY: {"major": version // 10000}}
    extra = _QUERIES_FROM_15 if version >= 150000 else _QUERIES_UP_TO_14
    with pinned_settings(connection):
        for name in (*_QUERIES, *extra):
            for kind, identity, parent, properties in fetch_all(connection, _query(name)):
                objects.setdefault(kind, {})[identity] = {BELONGS_TO: parent, **properties}
    return SchemaFingerprint(objects={kind: dict(sorted(objects[kind].items())) for kind in sorted(objects)})


def _query(name: str) -> str:
    return named_query(f"fingerprint/schema/{name}")
