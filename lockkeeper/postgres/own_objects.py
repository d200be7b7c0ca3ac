"""What Lockkeeper keeps in a user's database on purpose: the ledger of renames with its functions, triggers.

They outlast a migration that works with ``lockkeeper.ops``, since an undo needs them, and are numbered: so
they are neither residue of a downgrade nor a difference between a rehearsal and production.
"""

from __future__ import annotations

from collections.abc import Collection

from lockkeeper.models import DataFingerprint, SchemaFingerprint

SCHEMA = "lockkeeper"
TRIGGER_PREFIX = "zzz_lockkeeper_"


def without_objects(schema: SchemaFingerprint, hidden: Collection[str]) -> SchemaFingerprint:
    """Return a schema without some objects (``table public.t``), what belongs to them, and what to that."""
    gone, known = set(hidden), 0
    while known < len(gone):
        known = len(gone)
        gone |= {
            f"{kind} {identity}"
            for kind, objects in schema.objects.items()
            for identity, properties in objects.items()
            if properties.get("of") in gone
        }
    return SchemaFingerprint(
        objects={
            kind: {name: one for name, one in objects.items() if f"{kind} {name}" not in gone}
            for kind, objects in schema.objects.items()
        }
    )


def without_own(schema: SchemaFingerprint) -> SchemaFingerprint:
    """Return a schema without what is Lockkeeper's."""
    triggers = [name for name in schema.objects.get("trigger", {}) if name.startswith(TRIGGER_PREFIX)]
    return without_objects(schema, {f"schema {SCHEMA}", *(f"trigger {name}" for name in triggers)})


def without_own_tables(data: DataFingerprint) -> DataFingerprint:
    """Return a content without that of Lockkeeper's tables and sequences."""
    tables = {name: one for name, one in data.tables.items() if not is_own_table(name)}
    sequences = {name: one for name, one in data.sequences.items() if not is_own_table(name)}
    return data.model_copy(update={"tables": tables, "sequences": sequences})


def is_own_table(table: str) -> bool:
    """Whether a table, or a sequence, is Lockkeeper's; the name is qualified and quoted."""
    return table.startswith(f"{SCHEMA}.")
