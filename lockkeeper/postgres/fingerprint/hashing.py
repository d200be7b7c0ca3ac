"""SQL that hashes one value, exactly, for every type; and the two digests made of such hashes.

A value's hash is 64 bits. A column's digest is the sum of its values' hashes, so order does not count and
duplicates do. A row's hash mixes the hashes of its columns, each seeded by its column's name, through one
more hash before it is summed: exchanging values between two rows leaves every column's digest alone and
changes the rows' digest.

Two ways to hash: a type's own hash function where equal hashes mean equal *output* (integers, uuid, text
under collation C, bytea, ...), else the text of the type's output function. The types' own functions are not
enough for the others: they take -0 for 0, 1.0 for 1.00, '1 day' for '24 hours', arrays for their
elements without bounds, and an enum's hash is that of its OID. Output functions are called by name, since a
cast to text may be somebody's own function. Values and hashes are the same on PostgreSQL 14 to 18
(little-endian machines); a manifest made on one compares with a restore on another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2 import sql

# Part of every digest: fingerprints made in different ways are never compared.
ALGORITHM = "1"
_DIGEST_BITS = 128
PACKED_BYTES = 8

_INT4_RANGE = "BETWEEN -2147483648 AND 2147483647"
# Seconds as float8 are exact to the microsecond where they need less than 52 bits: well beyond these years.
_EXACT_EPOCH = "BETWEEN '1900-01-01' AND '2100-01-01'"

# {v} is the value, {s} the seed, {t} the hash of the value's text. hashint8extended folds its argument to 32
# bits, which loses nothing in int4's range; equal numbers have equal hashes in every integer type.
_OWN_HASH = {
    "int2": "hashint8extended({v}, {s})",
    "int4": "hashint8extended({v}, {s})",
    "int8": f"CASE WHEN {{v}} {_INT4_RANGE} THEN hashint8extended({{v}}, {{s}}) "
    "ELSE hashint8extended({v}, {s}) # hashfloat8extended({v}::float8, {s}) END",
    "oid": "hashint8extended({v}::int8, {s})",
    "bool": "hashint4extended({v}::int4, {s})",
    "char": "hashcharextended({v}, {s})",
    "text": 'hashtextextended({v} COLLATE "C", {s})',
    "varchar": 'hashtextextended({v}::text COLLATE "C", {s})',
    "uuid": "uuid_hash_extended({v}, {s})",
    "float4": "CASE WHEN {v} = 0 THEN {t} ELSE hashfloat4extended({v}, {s}) END",
    "float8": "CASE WHEN {v} = 0 THEN {t} ELSE hashfloat8extended({v}, {s}) END",
    "date": "CASE WHEN isfinite({v}) THEN hashint4extended({v} - '2000-01-01'::date, {s}) ELSE {t} END",
    "timestamp": f"CASE WHEN {{v}} {_EXACT_EPOCH} "
    "THEN hashfloat8extended(date_part('epoch', {v}), {s}) ELSE {t} END",
    "timestamptz": f"CASE WHEN {{v}} {_EXACT_EPOCH} "
    "THEN hashfloat8extended(date_part('epoch', {v}), {s}) ELSE {t} END",
    # bytea has no function of its own before 18; as an element of an array its bytes are hashed as they are.
    "bytea": "hash_array_extended(ARRAY[{v}], {s})",
}
_TEXT_HASH = 'hashtextextended(textin({out}({v})) COLLATE "C", {s})'


@dataclass(frozen=True)
class Column:
    """One column as the catalogue describes it; ``quoted`` and the functions' names are ready for SQL."""

    name: str
    quoted: str
    builtin: str | None
    """Name of the type in pg_catalog, if it is one of those."""
    domain_base: str | None
    """The type below a domain, else None."""
    output: str
    """The output function of the type (or of the type below the domain), qualified."""

    @property
    def seed(self) -> int:
        """What NULL hashes to in this column."""
        return column_seed(self.name)


def column_seed(name: str) -> int:
    """Return a number that depends on nothing but the column's name: its position may change."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def value_text(column: Column) -> sql.Composable:
    """Return SQL for the exact text of the column's value."""
    return sql.SQL(f"textin({column.output}({_value(column)}))")


def value_hash(column: Column) -> sql.SQL:
    """Return SQL for the hash of the column's value; NULL has one too."""
    value, seed = _value(column), f"{column.seed}::int8"
    as_text = _TEXT_HASH.format(out=column.output, v=value, s=seed)
    own = _OWN_HASH.get(column.builtin or "", "{t}").format(v=value, s=seed, t=as_text)
    return sql.SQL(f"COALESCE({own}, {seed})")


def _value(column: Column) -> str:
    return f"{column.quoted}::{column.domain_base}" if column.domain_base else column.quoted


def row_hash(hashes: Sequence[str]) -> sql.Composable:
    """Return SQL that mixes the named columns' hashes to one of the row (53 of its bits take part)."""
    return sql.SQL(f"hashfloat8extended(({_joined('#', hashes)})::float8, 0)") if hashes else sql.SQL("1")


def packed(hashes: Sequence[str]) -> sql.Composable:
    """Return SQL for the named hashes as one bytea: ``PACKED_BYTES`` each, in this order."""
    return sql.SQL(_joined("||", [f"int8send({name})" for name in hashes]) if hashes else "''::bytea")


def _joined(operator: str, terms: Sequence[str]) -> str:
    # Balanced, since a chain of 1,600 columns would nest the expression as deep.
    if len(terms) == 1:
        return terms[0]
    middle = len(terms) // 2
    return f"({_joined(operator, terms[:middle])} {operator} {_joined(operator, terms[middle:])})"


def digest(total: int) -> str:
    """Write the sum of hashes as a digest."""
    return f"{ALGORITHM}-{total % (1 << _DIGEST_BITS):0{_DIGEST_BITS // 4}x}"


def hashed_rows(
    columns: Sequence[Column], source: sql.Composable, *, also: Sequence[sql.Composable] = ()
) -> sql.Composable:
    """Return a subquery over ``source`` with columns h0, h1, ... (hashes computed once) and ``also``."""
    hashes: list[sql.Composable] = [
        sql.SQL("{} AS h{}").format(value_hash(column), sql.SQL(str(i))) for i, column in enumerate(columns)
    ]
    # Without OFFSET 0 the planner would merge the levels and compute each hash twice.
    return sql.SQL("(SELECT {} FROM {} OFFSET 0) AS hashed").format(
        sql.SQL(", ").join([*hashes, *also]), source
    )


def digests_query(
    sources: Sequence[tuple[Sequence[Column], sql.Composable]], *, per_column: bool
) -> sql.Composable:
    """Return a query for several sources: number, and what ``digest_query`` returns as an array.

    It sets the savepoint ``batch`` first, so that a source that cannot be read does not end the snapshot.
    """
    parts = [
        sql.SQL("SELECT {}, ARRAY[{}]::numeric[] FROM {}").format(
            sql.SQL(str(number)), _sums(len(columns), per_column), hashed_rows(columns, source)
        )
        for number, (columns, source) in enumerate(sources)
    ]
    return sql.SQL("SAVEPOINT batch; ") + sql.SQL(" UNION ALL ").join(parts)


def digest_query(columns: Sequence[Column], source: sql.Composable, *, per_column: bool) -> sql.Composable:
    """Return a query over ``source``: rows, sum of row hashes, and each column's sum when ``per_column``."""
    return sql.SQL("SELECT {} FROM {}").format(_sums(len(columns), per_column), hashed_rows(columns, source))


def _sums(columns: int, per_column: bool) -> sql.Composable:
    names = [f"h{i}" for i in range(columns)]
    sums = [sql.SQL("count(*)"), sql.SQL("sum({})").format(row_hash(names))]
    if per_column:
        sums += [sql.SQL(f"sum({name})") for name in names]
    return sql.SQL(", ").join(sums)
