"""What the lint knows while it reads: of the database, of the revision and of the transaction."""

from __future__ import annotations

from dataclasses import dataclass, field

from lockkeeper.lint.models import LintContext
from lockkeeper.lint.names import Name, parse_name
from lockkeeper.lint.parsing import Node, expression, parse_expression
from lockkeeper.lint.types import of_text
from lockkeeper.online.types import TypeFacts


@dataclass
class Column:
    """A column as far as it is known; ``added`` to a table that is in use, by what was read so far."""

    type: TypeFacts | None
    not_null: bool = False
    added: bool = False


@dataclass
class Check:
    """A CHECK constraint that a migration has added."""

    name: str
    never_null: frozenset[str]
    validated: bool
    expression: str = ""


@dataclass(frozen=True)
class Index:
    """An index as far as it is known; ``columns`` without expressions."""

    table: Name
    columns: tuple[str, ...] = ()
    partitioned: bool = False


@dataclass
class Known:
    """Grows with every statement read; ``new_tables`` and below start again, see ``begin_...``."""

    context: LintContext
    version: int
    rows: dict[Name, int] = field(default_factory=dict)
    columns: dict[Name, dict[str, Column]] = field(default_factory=dict)
    checks: dict[Name, list[Check]] = field(default_factory=dict)
    domains: set[Name] = field(default_factory=set)
    indexes: dict[Name, Index] = field(default_factory=dict)
    default_partitions: dict[Name, str] = field(default_factory=dict)
    policies: set[Name] = field(default_factory=set)
    # of the revision
    made_in_revision: set[tuple[str, Name]] = field(default_factory=set)
    new_tables: set[Name] = field(default_factory=set)
    new_indexes: dict[Name, Name] = field(default_factory=dict)
    # of the transaction
    added: set[tuple[Name, str]] = field(default_factory=set)
    exclusive: dict[Name, str] = field(default_factory=dict)
    new_enum_values: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, context: LintContext, version: int) -> Known:
        """Start with what the context says."""
        known = cls(context, version)
        for table, rows in context.row_estimates.items():
            known.rows[known.key(parse_name(table))] = rows
        for table, columns in context.columns.items():
            known.columns[known.key(parse_name(table))] = {
                name: Column(of_text(facts.type), facts.not_null) for name, facts in columns.items()
            }
        for table, expressions in context.validated_checks.items():
            trees = [parse_expression(text) for text in expressions]
            known.checks[known.key(parse_name(table))] = [
                Check("", never_null(tree), True, shown(tree)) for tree in trees if tree is not None
            ]
        known.domains = {known.key(parse_name(domain)) for domain in context.constrained_domains}
        for name, index in context.indexes.items():
            of_table = known.shown(known.key(parse_name(index.table)))
            known.indexes[known.key(parse_name(name))] = Index(of_table, index.columns, index.partitioned)
        known.default_partitions = {
            known.key(parse_name(table)): default for table, default in context.default_partitions.items()
        }
        known.policies = {known.key(parse_name(table)) for table in context.tables_with_policies}
        return known

    def key(self, name: Name) -> Name:
        """Return the name with its schema."""
        return name.within(self.context.default_schema)

    def begin_revision(self, made: set[tuple[str, Name]]) -> None:
        """Forget what was only harmless because nobody else had seen it; ``made`` is what is to come."""
        self.made_in_revision = made
        self.new_tables.clear()
        self.new_indexes.clear()
        self.begin_transaction()

    def begin_transaction(self) -> None:
        """Forget what the last transaction held."""
        self.added.clear()
        self.exclusive.clear()
        self.new_enum_values.clear()

    def shown(self, key: Name) -> Name:
        """Return a key as the user would write it: without the default schema."""
        return Name("", key.name) if key.schema == self.context.default_schema else key

    def harmless_because(self, table: Name) -> str | None:
        """Why a lock or scan of the table harms nobody: it is new, or tiny; else None."""
        key = self.key(table)
        if key in self.new_tables:
            return f"{table} is made by the same revision"
        rows = self.rows.get(key)
        if rows is not None and 0 <= rows <= self.context.tiny_table_rows:
            return f"{table} has about {rows} rows"
        return None

    def is_new(self, table: Name) -> bool:
        """Whether the revision itself made the table."""
        return self.key(table) in self.new_tables

    def never_null_by_check(self, table: Name, column: str) -> bool:
        """Whether a validated CHECK says that the column is not null: SET NOT NULL then reads nothing."""
        return any(
            check.validated and column in check.never_null for check in self.checks.get(self.key(table), ())
        )

    def column(self, table: Name, column: str) -> Column | None:
        """Return what is known of a column."""
        return self.columns.get(self.key(table), {}).get(column)

    def rename_table(self, old: Name, new: Name) -> None:
        """Carry over what was known under the old name."""
        before, after = self.key(old), self.key(new)
        if before in self.rows:
            self.rows[after] = self.rows.pop(before)
        if before in self.columns:
            self.columns[after] = self.columns.pop(before)
        if before in self.checks:
            self.checks[after] = self.checks.pop(before)
        if before in self.new_tables:
            self.new_tables.add(after)
            self.new_tables.discard(before)


def never_null(tree: Node) -> frozenset[str]:
    """Return the columns that an expression (a ``pb.Node``) excludes NULL for."""
    kind = tree.WhichOneof("node")
    if kind == "null_test" and tree.null_test.nulltesttype == 2:
        fields = [value.string.sval for _, value in _fields(tree.null_test.arg)]
        return frozenset(fields[-1:])
    if kind == "bool_expr" and tree.bool_expr.boolop == 1:
        return frozenset().union(*(never_null(each) for each in tree.bool_expr.args))
    return frozenset()


def _fields(node: Node) -> list[tuple[str, Node]]:
    if node.WhichOneof("node") != "column_ref":
        return []
    return [("field", each) for each in node.column_ref.fields]


def shown(tree: Node) -> str:
    """Return an expression as SQL, on one line."""
    return " ".join(expression(tree).split())
