"""A rename's expand and contract that one migration would apply together, with nothing in between.

The application goes over to the new column between the two. Applied in one go, the versions that run name a
column that is hidden a second later, and nobody was asked. Read from the revisions' Python source, which is
never executed: arguments that are no literals are compared by their text.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lockkeeper.lint.exemptions import Claim, allow
from lockkeeper.lint.models import LintContext, LintFinding, Severity

RULE = "rename-in-one-go"
_EXPAND, _CONTRACT = "expand_rename_online", "contract_rename_online"
_PLACES = ("table_name", "old", "new")


@dataclass(frozen=True)
class RenameNames:
    """What is renamed, as the source has it; ``literal`` when these are the names themselves."""

    table: str
    old: str
    new: str
    schema: str | None
    literal: bool

    def __str__(self) -> str:
        table = f"{self.schema}.{self.table}" if self.schema else self.table
        return f"{table}.{self.old} -> {self.new}"


@dataclass(frozen=True)
class RenameInOneGo:
    """Two revisions of one plan that must not be applied together."""

    names: RenameNames
    expand: str
    contract: str

    @property
    def danger(self) -> str:
        """What would happen, in a sentence."""
        return (
            f"{self.expand} expands and {self.contract} contracts {self.names} in one go: nobody is asked in "
            f"between, and every version of the application that names {self.names.old} fails from then on."
        )

    def way(self, target: str) -> str:
        """How it is done instead."""
        return (
            f"lockkeeper migrate {target} {self.expand}; deploy the application that uses {self.names.new}; "
            f"then lockkeeper migrate {target} {self.contract}"
        )


def renames_in_one_go(sources: Mapping[str, str], revisions: Iterable[str]) -> list[RenameInOneGo]:
    """Return the pairs among revisions, given in the order in which they would be applied.

    A change of type that keeps the name is none: nobody's statements name anything that vanishes.
    """
    found, expands = [], dict[RenameNames, str]()
    for revision in revisions:
        for operation, names in _operations(sources.get(revision, "")):
            if operation == _EXPAND:
                expands.setdefault(names, revision)
            elif names in expands and names.old != names.new:
                found.append(RenameInOneGo(names, expands[names], revision))
    return found


def judge_renames(
    context: LintContext, revisions: Iterable[str], claims: Iterable[Claim]
) -> Iterator[LintFinding]:
    """Yield a finding for each pair on a column that the database has already, and an application may use.

    An exemption in a revision that contracts is needed, whatever else is pending with it.
    """
    claims, revisions = list(claims), list(revisions)
    for claim in claims:
        if claim.answers(RULE) and _contracts(context.sources.get(claim.revision or "", "")):
            claim.used = True
    for pair in renames_in_one_go(context.sources, revisions):
        if _is_in_use(pair.names, context):
            finding = LintFinding(
                rule=RULE, severity=Severity.ERROR, revision=pair.contract, message=pair.danger,
                advice=f"-- {pair.way('TARGET')}",
            )  # fmt: skip
            yield allow(finding, claims)


def _is_in_use(names: RenameNames, context: LintContext) -> bool:
    from lockkeeper.lint.names import Name, parse_name

    if not names.literal:
        return bool(context.columns)
    wanted = Name(names.schema or context.default_schema, names.table)
    for table, columns in context.columns.items():
        if parse_name(table) == wanted:
            return names.old in columns and names.new not in columns
    return False


def _contracts(source: str) -> bool:
    return any(operation == _CONTRACT for operation, _ in _operations(source))


def _operations(source: str) -> Iterator[tuple[str, RenameNames]]:
    """Yield expands and contracts of a revision; the operations of the ways back have other names."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # Alembic says so, too, and louder
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in (_EXPAND, _CONTRACT):
                yield name, _names(node)


def _names(call: ast.Call) -> RenameNames:
    given: dict[str, ast.expr] = dict(zip(_PLACES, call.args, strict=False))
    given |= {word.arg: word.value for word in call.keywords if word.arg}
    texts = [_text(given.get(place)) for place in _PLACES]
    schema = given.get("schema")
    literal = all(isinstance(given.get(place), ast.Constant) for place in _PLACES)
    return RenameNames(
        texts[0], texts[1], texts[2], _text(schema) or None,
        literal=literal and (schema is None or isinstance(schema, ast.Constant)),
    )  # fmt: skip


def _text(given: ast.expr | None) -> str:
    if isinstance(given, ast.Constant):
        return "" if given.value is None else str(given.value)
    return "" if given is None else ast.unparse(given)
