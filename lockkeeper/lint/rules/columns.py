"""ALTER TABLE, as far as it is about columns."""

from __future__ import annotations

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from lockkeeper.lint.known import shown
from lockkeeper.lint.names import Name, of_parts, quoted
from lockkeeper.lint.parsing import Node, descendants
from lockkeeper.lint.rules.constraints import fresh_constraint, not_null_advice
from lockkeeper.lint.types import SERIAL_TYPES, of_type_name
from lockkeeper.lint.verdicts import Scene, Verdict, cleared, steps
from lockkeeper.online.types import keeps_rows

REWRITE = "add-column-rewrite"
_BLOCKS = "ACCESS EXCLUSIVE for as long as that takes: nobody reads or writes {table} meanwhile."
# Functions of pg_catalog that are stable or immutable and seen in defaults; any other counts as volatile.
_NOT_VOLATILE = frozenset(
    """abs age array_append array_cat array_fill array_to_string box btrim ceil char_length circle coalesce
    concat concat_ws current_database current_schema current_setting date_part date_trunc daterange
    decode encode floor format greatest inet_client_addr initcap int4range int8range
    json_build_array json_build_object jsonb_build_array jsonb_build_object jsonb_set least left
    length lower lpad ltrim make_date make_interval make_timestamp make_timestamptz md5 mod now
    nullif numrange overlay pg_backend_pid point power repeat replace right round rpad rtrim sha256
    sqrt statement_timestamp string_to_array substr substring timezone to_char to_date to_json
    to_jsonb to_number to_timestamp to_tsquery to_tsvector transaction_timestamp translate trim
    trunc tsrange tstzrange txid_current upper""".split()  # noqa: SIM905
)


def add_column(table: Name, command: Node, scene: Scene) -> Iterator[Verdict]:
    """ADD COLUMN: safe without a default or with a constant one; the rest reads, rewrites or breaks."""
    column = getattr(command, "def").column_def
    shown_column = quoted(column.colname)
    by_kind = {each.constraint.contype: each.constraint for each in column.constraints}
    yield from _rewriting(table, column, by_kind, scene)
    yield from _required(table, column, by_kind, scene)
    if of_type_name(column.type_name).name == "json":
        yield scene.unless_new(table, Verdict(
            "add-json-column",
            f"The type json has no equality: SELECT DISTINCT, GROUP BY and UNION over all columns of {table} "
            f"fail as soon as {shown_column} is there.",
            f"ALTER TABLE {table} ADD COLUMN {shown_column} jsonb;",
        ))  # fmt: skip
    for constraint in by_kind.values():
        yield from fresh_constraint(table, constraint, scene, column=column.colname)


def _rewriting(table: Name, column: Node, by_kind: dict[int, Node], scene: Scene) -> Iterator[Verdict]:
    """Say whether every row gets written again, and why."""
    name, type_name = quoted(column.colname), of_type_name(column.type_name)
    default = by_kind.get(pb.CONSTR_DEFAULT)
    generated = by_kind.get(pb.CONSTR_GENERATED)
    plain = _type_text(column.type_name)
    backfill = f"-- then fill {name} in batches, outside of this transaction"
    if type_name.name in SERIAL_TYPES or pb.CONSTR_IDENTITY in by_kind:
        what = "a number for every row"
        sequence = quoted(f"{table.name}_{column.colname}_seq")
        whole = {"serial": "integer", "smallserial": "smallint"}.get(type_name.name, "bigint")
        advice = steps(
            f"ALTER TABLE {table} ADD COLUMN {name} {whole if type_name.name in SERIAL_TYPES else plain};",
            f"CREATE SEQUENCE {sequence} OWNED BY {table}.{name};",
            f"ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT nextval('{sequence}');",
            backfill,
        )
    elif generated is not None and getattr(generated, "generated_kind", "") != "v":
        what = f"GENERATED ALWAYS AS ({shown(generated.raw_expr)}) STORED for every row"
        advice = steps(
            f"ALTER TABLE {table} ADD COLUMN {name} {plain};",
            f"-- a BEFORE INSERT OR UPDATE trigger sets {name} for new rows",
            backfill,
        )
    elif default is not None and (call := volatile_call(default.raw_expr)):
        what = f"the default {shown(default.raw_expr)} for every row ({call} is volatile)"
        advice = steps(
            f"ALTER TABLE {table} ADD COLUMN {name} {plain};",
            f"ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT {shown(default.raw_expr)};",
            backfill,
        )
    elif scene.known.key(of_parts(column.type_name.names)) in scene.known.domains:
        what = f"and checks the constraints of the domain {type_name.name}"
        advice = f"ALTER TABLE {table} ADD COLUMN {name} ...; -- of the domain's base type, with a CHECK"
    else:
        yield cleared(REWRITE, "no default, or one that the catalogue stores: no row is written")
        return
    message = f"ADD COLUMN {name} rewrites {table}, computing {what}, under " + _BLOCKS.format(table=table)
    yield scene.unless_harmless(table, Verdict(REWRITE, message, advice))


def _required(table: Name, column: Node, by_kind: dict[int, Node], scene: Scene) -> Iterator[Verdict]:
    """A column that must be given and has no default breaks whoever does not know it yet."""
    must = by_kind.keys() & {pb.CONSTR_NOTNULL, pb.CONSTR_PRIMARY}
    filled = by_kind.keys() & {pb.CONSTR_DEFAULT, pb.CONSTR_GENERATED, pb.CONSTR_IDENTITY}
    type_name = of_type_name(column.type_name).name
    if not must or filled or type_name in SERIAL_TYPES:
        return
    name, plain = quoted(column.colname), _type_text(column.type_name)
    check = quoted(f"{table.name}_{column.colname}_not_null")
    yield scene.unless_new(table, Verdict(
        "add-required-column",
        f"{name} is NOT NULL without a DEFAULT: every INSERT of the application version that does not know "
        f"it fails, and so does this statement when {table} has rows.",
        steps(
            f"ALTER TABLE {table} ADD COLUMN {name} {plain} NOT NULL DEFAULT ...; -- a constant, or:",
            f"ALTER TABLE {table} ADD COLUMN {name} {plain};",
            f"-- when every version of the application writes {name} and it is filled:",
            f"ALTER TABLE {table} ADD CONSTRAINT {check} CHECK ({name} IS NOT NULL) NOT VALID;",
        ),
    ))  # fmt: skip


def volatile_call(tree: Node) -> str:
    """Return the name of a function in the expression that may be volatile, or nothing."""
    for kind, node in descendants(tree):
        if kind == "func_call":
            name = of_parts(node.funcname)
            if name.schema not in ("", "pg_catalog") or name.name not in _NOT_VOLATILE:
                return f"{name}()"
        if kind == "sub_link":
            return "a subquery"
    return ""


def set_not_null(table: Name, command: Node, scene: Scene) -> Iterator[Verdict]:
    """SET NOT NULL reads the whole table, unless a validated CHECK makes that needless."""
    rule, name = "set-not-null-without-check", quoted(command.name)
    known = scene.known.column(table, command.name)
    if known is not None and known.not_null:
        yield cleared(rule, f"{name} is NOT NULL already")
    elif scene.known.never_null_by_check(table, command.name):
        yield cleared(rule, f"a validated CHECK says that {name} is not null")
    else:
        yield scene.unless_harmless(table, Verdict(
            rule,
            f"SET NOT NULL reads all of {table} under " + _BLOCKS.format(table=table),
            not_null_advice(table, command.name),
        ))  # fmt: skip


def change_type(table: Name, command: Node, scene: Scene) -> Iterator[Verdict]:
    """ALTER COLUMN TYPE rewrites, but for the few changes that keep the stored form."""
    rule, name = "column-type-change", quoted(command.name)
    definition = getattr(command, "def").column_def
    new, using = of_type_name(definition.type_name), definition.raw_default
    known = scene.known.column(table, command.name)
    old = known.type if known is not None else None
    recollated = definition.HasField("coll_clause")
    if old is not None and not recollated and _changes_nothing(using, command.name) and keeps_rows(old, new):
        yield cleared(rule, "the stored form stays: only the catalogue changes")
        return
    plain, shadow = _type_text(definition.type_name), quoted(f"{command.name}_new")
    unsure = "" if old is not None else " (what its type is now is not known here)"
    yield scene.unless_harmless(table, Verdict(
        rule,
        f"Changing {name} to {plain} rewrites {table} and its indexes{unsure} under "
        + _BLOCKS.format(table=table) + " The running application still expects the old type.",
        steps(
            f"ALTER TABLE {table} ADD COLUMN {shadow} {plain};",
            f"-- a trigger keeps {name} and {shadow} alike; fill {shadow} in batches; "
            "switch the application over;",
            f"-- in a later release: ALTER TABLE {table} DROP COLUMN {name};",
        ),
    ))  # fmt: skip


def _changes_nothing(using: Node, column: str) -> bool:
    """Whether a USING expression is absent, or is the column itself with or without a cast."""
    kind = using.WhichOneof("node")
    if kind == "type_cast":
        return _changes_nothing(using.type_cast.arg, column)
    if kind == "column_ref":
        return bool(using.column_ref.fields[-1].string.sval == column)
    return kind is None


def drop_column(table: Name, command: Node, scene: Scene) -> Iterator[Verdict]:
    """DROP COLUMN loses the data and breaks whoever still names the column."""
    name = quoted(command.name)
    cascade = " CASCADE also drops what depends on it, unseen." if command.behavior == pb.DROP_CASCADE else ""
    yield scene.unless_new(table, Verdict(
        "drop-column",
        f"Every statement of the running application that names {table}.{name} fails (an ORM names all "
        f"columns), and its data is gone.{cascade}",
        steps(
            f"-- first release an application version that does not use {table}.{name}; then, in a release "
            "of its own, the same statement after:",
            "-- lockkeeper: allow drop-column because no released version uses it any more",
        ),
    ))  # fmt: skip


def loosen(table: Name, command: Node, scene: Scene) -> Iterator[Verdict]:
    """DROP NOT NULL is quick; who reads the column may not be ready for NULL (squawk and pgroll agree)."""
    name = quoted(command.name)
    yield scene.unless_new(table, Verdict(
        "drop-not-null",
        f"Application versions that read {table}.{name} may meet NULL from now on.",
        f"-- release a version that can read NULL in {name} before one that writes it",
    ))  # fmt: skip


def set_expression(table: Name, command: Node, scene: Scene) -> Iterator[Verdict]:
    """SET EXPRESSION (17 and later) computes a stored column anew for every row."""
    name = quoted(command.name)
    yield scene.unless_harmless(table, Verdict(
        "table-rewrite",
        f"SET EXPRESSION rewrites {table} (unless {name} is a virtual column) under "
        + _BLOCKS.format(table=table),
        f"-- add a second column with the new expression beside {name}, by trigger and backfill",
    ))  # fmt: skip


def _type_text(node: Node) -> str:
    cast = pb.Node()
    cast.type_cast.arg.a_const.isnull = True
    cast.type_cast.type_name.CopyFrom(node)
    return shown(cast).removeprefix("NULL::").strip()
