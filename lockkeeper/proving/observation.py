"""A scratch database as it is at one moment, and what two such moments differ in.

Not a difference: Alembic's version tables, what is Lockkeeper's own, the physical order of columns, and
sequences that are further on (a row that came and went has used a value, and PostgreSQL never takes it back).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import URL

from lockkeeper.models import DataFingerprint, SchemaFingerprint
from lockkeeper.postgres.connection import Connection, fetch_value
from lockkeeper.postgres.fingerprint import (
    RowMemory,
    compare_schemas,
    data_fingerprint,
    schema_fingerprint,
)
from lockkeeper.postgres.own_objects import without_objects, without_own, without_own_tables
from lockkeeper.proving.models import Finding, FindingKind

_AS_CATALOGUED = """
SELECT pg_catalog.string_agg(pg_catalog.quote_ident(part), '.' ORDER BY position)
FROM pg_catalog.unnest(pg_catalog.parse_ident(%s)) WITH ORDINALITY AS name (part, position)
"""
_UNEXPECTED, _MISSING = "unexpected ", " is missing"
_SUBJECT = re.compile(r"""((?:"(?:[^"]|"")*"|.)+?)(?:: | is | has |$)""", re.DOTALL)


@dataclass(frozen=True)
class Observer:
    """Looks at one database; ``version_tables`` (as the catalogue quotes them) do not count.

    Without ``compares_data`` every table looks empty.
    """

    url: URL
    connection: Connection
    version_tables: frozenset[str]
    run_id: str | None = None
    jobs: int = 1
    compares_data: bool = True

    @classmethod
    def make(
        cls,
        url: URL,
        connection: Connection,
        version_tables: Sequence[str],
        run_id: str | None,
        jobs: int = 1,
        compares_data: bool = True,
    ) -> Observer:
        """Return an observer; the names are those of ``AlembicSession.prepare``."""
        names = {str(fetch_value(connection, _AS_CATALOGUED, (one,))) for one in version_tables}
        return cls(url, connection, frozenset(names), run_id, jobs, compares_data)

    def schema(self) -> SchemaFingerprint:
        """Read the schema, in its own transaction."""
        found = without_own(schema_fingerprint(self.connection))
        return without_objects(found, {f"table {name}" for name in self.version_tables})

    def data(self) -> DataFingerprint:
        """Read the rows of tables that have any; empty ones cost nothing but their names."""
        if not self.compares_data:
            return DataFingerprint(tables={})
        found = data_fingerprint(self.url, jobs=self.jobs, run_id=self.run_id, connection=self.connection)
        tables = {name: one for name, one in found.tables.items() if name not in self.version_tables}
        return without_own_tables(found.model_copy(update={"tables": tables}))

    def row_memory(self) -> RowMemory:
        """Return what remembers the rows of this database."""
        return RowMemory(self.connection)


def invalid_indexes(schema: SchemaFingerprint) -> set[str]:
    """Name the indexes that PostgreSQL does not use because they were never finished."""
    return {name for name, index in schema.objects.get("index", {}).items() if not index["valid"]}


def row_count(data: DataFingerprint) -> int:
    """Count the rows of all tables."""
    return sum(table.rows for table in data.tables.values() if table.kind == "table")


def schema_changes(before: SchemaFingerprint, after: SchemaFingerprint) -> tuple[str, ...]:
    """Say what an upgrade did, e.g. ``adds table public.t``, ``drops column public.t.c``."""

    def told(sentence: str) -> str:
        if sentence.startswith(_UNEXPECTED):
            return "adds " + sentence[len(_UNEXPECTED) :]
        return "drops " + sentence[: -len(_MISSING)] if sentence.endswith(_MISSING) else sentence

    return tuple(told(sentence) for sentence in compare_schemas(before, after))


def schema_findings(before: SchemaFingerprint, after: SchemaFingerprint) -> list[Finding]:
    """Say where a downgrade did not bring back the schema."""
    return [_schema_finding(sentence) for sentence in compare_schemas(before, after)]


def _schema_finding(sentence: str) -> Finding:
    if sentence.startswith(_UNEXPECTED):
        subject = sentence[len(_UNEXPECTED) :]
        return Finding(
            kind=FindingKind.RESIDUE, subject=subject, message=f"the downgrade leaves {subject} behind"
        )
    if sentence.endswith(_MISSING):
        subject = sentence[: -len(_MISSING)]
        return Finding(
            kind=FindingKind.NOT_RESTORED,
            subject=subject,
            message=f"the downgrade does not bring back {subject}",
        )
    subject = subject_of(sentence)
    return Finding(kind=FindingKind.NOT_RESTORED, subject=subject, message=f"after the downgrade {sentence}")


def subject_of(sentence: str) -> str:
    """Return the object that a difference is about; quoted names may contain anything."""
    found = _SUBJECT.match(sentence.removeprefix(_UNEXPECTED))
    return found.group(1) if found else sentence
