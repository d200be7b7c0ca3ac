"""What must, and what must not, be in a transaction; and what only shows when the statement runs."""

from __future__ import annotations

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from lockkeeper.lint.models import Severity
from lockkeeper.lint.parsing import Node, body_of_do, descendants, parse_statements
from lockkeeper.lint.verdicts import AUTOCOMMIT, EVERY, RULES, Scene, Verdict, judges, steps

_ENDS = frozenset({pb.TRANS_STMT_COMMIT, pb.TRANS_STMT_ROLLBACK, pb.TRANS_STMT_PREPARE})


def needs_autocommit(kind: str, node: Node) -> str:
    """Return the name of a statement that PostgreSQL refuses inside a transaction, else nothing."""
    if kind == "index_stmt" and node.concurrent:
        return "CREATE INDEX CONCURRENTLY"
    if kind == "drop_stmt" and node.concurrent:
        return "DROP INDEX CONCURRENTLY"
    if kind == "reindex_stmt":
        concurrent = any(each.def_elem.defname == "concurrently" for each in node.params)
        whole = node.kind in (pb.REINDEX_OBJECT_DATABASE, pb.REINDEX_OBJECT_SYSTEM, pb.REINDEX_OBJECT_SCHEMA)
        return "REINDEX" + (" CONCURRENTLY" if concurrent else "") if concurrent or whole else ""
    if kind == "vacuum_stmt" and node.is_vacuumcmd:
        return "VACUUM"
    if kind == "alter_table_stmt":
        for each in node.cmds:
            command = each.alter_table_cmd
            if command.subtype == pb.AT_DetachPartition and getattr(command, "def").partition_cmd.concurrent:
                return "DETACH PARTITION CONCURRENTLY"
    return {
        "createdb_stmt": "CREATE DATABASE", "dropdb_stmt": "DROP DATABASE",
        "alter_system_stmt": "ALTER SYSTEM",
        "create_table_space_stmt": "CREATE TABLESPACE", "drop_table_space_stmt": "DROP TABLESPACE",
    }.get(kind, "")  # fmt: skip


@judges(EVERY)
def refused_in_transaction(node: Node, scene: Scene) -> Iterator[Verdict]:
    """CONCURRENTLY and its like inside a transaction."""
    name = needs_autocommit(scene.parsed.kind, node)
    if name and scene.in_transaction:
        yield Verdict(
            "not-in-transaction",
            f"{name} cannot run inside a transaction: PostgreSQL refuses it.",
            steps(f"-- outside of a transaction, in a revision of its own ({AUTOCOMMIT}):",
                  scene.parsed.text.rstrip(";") + ";"),
        )  # fmt: skip


@judges(EVERY)
def enum_value_too_early(node: Node, scene: Scene) -> Iterator[Verdict]:
    """A value that ALTER TYPE ... ADD VALUE has added cannot be used before the commit."""
    if not scene.known.new_enum_values or scene.parsed.kind == "alter_enum_stmt":
        return
    used = {each.sval.sval for kind, each in descendants(node) if kind == "a_const" and each.HasField("sval")}
    for value in sorted(used & scene.known.new_enum_values):
        yield Verdict(
            "enum-value-in-same-transaction",
            f"'{value}' was added to its type in the same transaction: PostgreSQL refuses its use before the "
            "commit (55P04).",
            steps("-- in a later revision:", scene.parsed.text.rstrip(";") + ";"),
        )


@judges("transaction_stmt")
def transaction_in_text(node: Node, scene: Scene) -> Iterator[Verdict]:
    """COMMIT as text ends a transaction that Alembic takes for its own."""
    if node.kind in _ENDS and scene.in_transaction and scene.statement.in_transaction:
        yield Verdict(
            "explicit-commit",
            "Ends Alembic's transaction behind its back: what comes after commits by itself, and a failure "
            "leaves the revision half applied.",
            AUTOCOMMIT,
            # A whole transaction as text is at least one on purpose.
            Severity.WARNING if scene.began_by_text else Severity.ERROR,
        )


@judges("do_stmt")
def inside_do(node: Node, scene: Scene) -> Iterator[Verdict]:
    """Judge the statements that a DO block holds, as far as they stand in its text."""
    texts, dynamic = body_of_do(scene.parsed.text)
    for text in texts:
        for parsed in parse_statements(text):
            if parsed.node is None or not parsed.kind:
                continue
            inner = Scene(parsed, scene.statement, True, scene.known)
            for rule in (*RULES.get(parsed.kind, ()), *RULES[EVERY]):
                yield from rule(parsed.node, inner)
    if dynamic:
        yield Verdict(
            "could-not-check",
            "A DO block that makes up SQL when it runs: what that does is not in the text.",
            "-- write the statements out, or allow it with what you have checked yourself",
            Severity.UNKNOWN,
        )
