"""Reads statements in order, follows transactions, and applies the rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from postgast import pg_query_pb2 as pb

import lockkeeper.lint.rules
from lockkeeper.lint.known import Known
from lockkeeper.lint.learning import learn, made_by
from lockkeeper.lint.models import LintContext, Severity, SqlStatement
from lockkeeper.lint.parsing import Parsed, parse_statements
from lockkeeper.lint.rules.transactions import needs_autocommit
from lockkeeper.lint.verdicts import EVERY, RULES, Scene, Verdict, warning

__all__ = ["Judged", "judge"]

_BEGINS = frozenset({pb.TRANS_STMT_BEGIN, pb.TRANS_STMT_START})
_ENDS = frozenset({pb.TRANS_STMT_COMMIT, pb.TRANS_STMT_ROLLBACK, pb.TRANS_STMT_PREPARE})
# Statements that change nothing that a failure later on could leave half done.
_HARMLESS = frozenset(
    {"variable_set_stmt", "variable_show_stmt", "select_stmt", "transaction_stmt", "lock_stmt"}
)


@dataclass
class Judged:
    """One statement with all that the rules say of it; ``transaction`` is None in autocommit."""

    parsed: Parsed
    revision: str | None
    transaction: int | None
    verdicts: list[Verdict]


def judge(statements: Sequence[SqlStatement], context: LintContext, version: int) -> list[Judged]:
    """Judge every statement in its place; the rules' package is what makes the rules known."""
    known = Known.of(context, version)
    judged: list[Judged] = []
    for revision, group in groupby(statements, key=lambda one: one.revision):
        parsed = [(each, parse_statements(each.text)) for each in group]
        known.begin_revision(made_by((one for _, several in parsed for one in several), known))
        of_revision = list(_judge_revision(parsed, revision, known))
        _say_what_may_be_left(of_revision, context)
        judged += of_revision
    return judged


def _judge_revision(
    statements: Sequence[tuple[SqlStatement, Sequence[Parsed]]], revision: str | None, known: Known
) -> Iterator[Judged]:
    number, inside, before, by_text = 0, False, None, False
    for statement, several in statements:
        if statement.in_transaction is not before:
            number, inside, before = number + 1, statement.in_transaction, statement.in_transaction
            by_text = False
            known.begin_transaction()
        for parsed in several:
            scene = Scene(parsed, statement, inside, known, by_text)
            scene.verdicts += _verdicts(scene)
            yield Judged(parsed, revision, number if inside else None, scene.verdicts)
            if parsed.node is not None and parsed.kind:
                learn(parsed, known)
            if not inside:
                known.begin_transaction()
            if parsed.kind == "transaction_stmt" and parsed.node.kind in _BEGINS | _ENDS:
                inside, number = parsed.node.kind in _BEGINS, number + 1
                by_text = inside
                known.begin_transaction()


def _verdicts(scene: Scene) -> Iterator[Verdict]:
    parsed = scene.parsed
    if parsed.node is None or not parsed.kind:
        yield Verdict(
            "could-not-check",
            f"PostgreSQL's parser does not take it: {parsed.error or 'no statement'}",
            "-- correct it, or allow it with what you have checked yourself",
            Severity.UNKNOWN,
        )
        return
    for rule in (*RULES.get(parsed.kind, ()), *RULES[EVERY]):
        yield from rule(parsed.node, scene)


def _say_what_may_be_left(judged: Sequence[Judged], context: LintContext) -> None:
    """Warn where autocommit follows changes that are then committed before Alembic notes the revision."""
    if not any(_is_bookkeeping(each.parsed, context) for each in judged):
        return
    changed: Judged | None = None
    for each in judged:
        if each.parsed.kind in _HARMLESS or _is_bookkeeping(each.parsed, context):
            continue
        if each.transaction is None and changed is not None:
            what = " ".join(changed.parsed.text.split())[:80]
            name = needs_autocommit(each.parsed.kind, each.parsed.node) or "A statement in autocommit"
            each.verdicts.append(warning(
                "partial-commit",
                f"{name} commits what the revision did before it ({what}) while Alembic still holds the "
                "revision for not applied: after a failure here it cannot simply be run again.",
                "-- a revision of its own for what runs outside of a transaction",
            ))  # fmt: skip
            return
        if not _is_repeatable(each.parsed):
            changed = each


def _is_repeatable(parsed: Parsed) -> bool:
    """Whether the statement may be run a second time: IF EXISTS, IF NOT EXISTS, OR REPLACE."""
    node = parsed.node
    flags = ("missing_ok", "if_not_exists", "replace")
    return node is None or parsed.kind == "vacuum_stmt" or any(getattr(node, flag, False) for flag in flags)


def _is_bookkeeping(parsed: Parsed, context: LintContext) -> bool:
    """Whether the statement is Alembic's own, on its version table."""
    if parsed.kind in ("create_stmt", "insert_stmt", "update_stmt", "delete_stmt"):
        return bool(parsed.node.relation.relname == context.version_table)
    return False


_ = lockkeeper.lint.rules
