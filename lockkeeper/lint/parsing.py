"""SQL as PostgreSQL's own parser reads it (libpg_query through ``postgast``; the grammar of PostgreSQL 18).

Nothing else of the package calls the parser, so that another binding of libpg_query could take its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import postgast
from postgast import pg_query_pb2 as pb

Node = Any
"""A protobuf message of libpg_query: ``pb.Node`` unwrapped."""

_COMMENTS = (pb.SQL_COMMENT, pb.C_COMMENT)


@dataclass(frozen=True)
class Parsed:
    """One statement: its text without surrounding comments, its tree (None when it does not parse)."""

    text: str
    kind: str
    node: Node
    comments: tuple[str, ...] = ()
    error: str = ""


@dataclass
class _Piece:
    start: int
    end: int
    comments: list[str] = field(default_factory=list)


def parse_statements(text: str) -> list[Parsed]:
    """Split ``text`` into statements and parse each; one that does not parse does not hide the others.

    A comment belongs to the statement that it is in or before, or after on the same line.
    """
    data = text.encode()
    try:
        pieces = _pieces(text, data)
    except postgast.PgQueryError as error:
        return [Parsed(text=text.strip(), kind="", node=None, error=str(error))]
    return [_parsed(data[each.start : each.end].decode(), tuple(each.comments)) for each in pieces]


def _pieces(text: str, data: bytes) -> list[_Piece]:
    """Cut at the semicolons outside of parentheses and of BEGIN ATOMIC bodies, as psql does."""
    pieces: list[_Piece] = []
    pending: list[str] = []
    current: _Piece | None = None
    depth, atomic, last_end, previous = 0, 0, 0, 0
    for token in postgast.scan(text).tokens:
        if token.token in _COMMENTS:
            comment = data[token.start : token.end].decode()
            if current is not None:
                current.comments.append(comment)
            elif pieces and b"\n" not in data[last_end : token.start]:
                pieces[-1].comments.append(comment)
            else:
                pending.append(comment)
            continue
        depth += (token.token == pb.ASCII_40) - (token.token == pb.ASCII_41)
        atomic += (token.token == pb.ATOMIC and previous == pb.BEGIN_P) or (
            atomic > 0 and token.token == pb.CASE
        )
        atomic -= atomic > 0 and token.token == pb.END_P
        previous = token.token
        if token.token == pb.ASCII_59 and depth <= 0 and atomic == 0:
            if current is not None:
                pieces.append(current)
            current, last_end = None, token.end
            continue
        if current is None:
            current, pending = _Piece(token.start, token.end, pending), []
        current.end = token.end
    if current is not None:
        pieces.append(current)
    if pieces:
        pieces[-1].comments += pending
    return pieces


def _parsed(text: str, comments: tuple[str, ...]) -> Parsed:
    try:
        (raw,) = postgast.parse(text).stmts
    except (postgast.PgQueryError, ValueError) as error:
        return Parsed(text=text, kind="", node=None, comments=comments, error=str(error))
    kind = str(raw.stmt.WhichOneof("node"))
    return Parsed(text=text, kind=kind, node=getattr(raw.stmt, kind), comments=comments)


def unwrap(node: Node) -> Node:
    """Return what a ``pb.Node`` holds, or None."""
    kind = node.WhichOneof("node")
    return None if kind is None else getattr(node, kind)


def rewrite(kind: str, node: Node) -> str:
    """Return the SQL of a statement's tree (changed, usually, by whoever gives advice)."""
    tree = pb.ParseResult()
    getattr(tree.stmts.add().stmt, kind).CopyFrom(node)
    return str(postgast.deparse(tree))


def expression(node: Node) -> str:
    """Return the SQL of an expression (a ``pb.Node``)."""
    tree = pb.ParseResult()
    select = tree.stmts.add().stmt.select_stmt
    select.target_list.add().res_target.val.CopyFrom(node)
    return str(postgast.deparse(tree)).removeprefix("SELECT ").strip()


def parse_expression(text: str) -> Node:
    """Return the tree (a ``pb.Node``) of an expression, or None when it is none."""
    try:
        (raw,) = postgast.parse(f"SELECT {text}").stmts
    except (postgast.PgQueryError, ValueError):
        return None
    return raw.stmt.select_stmt.target_list[0].res_target.val


def parse_type(text: str) -> Node:
    """Return the ``TypeName`` of a type as ``format_type`` writes it, or None."""
    cast = parse_expression(f"NULL::{text}")
    return cast.type_cast.type_name if cast is not None and cast.WhichOneof("node") == "type_cast" else None


def descendants(node: Node) -> Iterator[tuple[str, Node]]:
    """Yield (kind, message) of everything below a message, itself included, with the kind in snake case."""
    stack: list[tuple[str, Node]] = [("", node)]
    while stack:
        name, message = stack.pop()
        if name != "node":
            yield name, message
        for descriptor, value in message.ListFields():
            if descriptor.message_type is None:
                continue
            several = value if hasattr(value, "__len__") else (value,)
            inner = "node" if descriptor.message_type.name == "Node" else descriptor.name
            stack += [(inner, each) for each in several]


def body_of_do(text: str) -> tuple[list[str], bool]:
    """Return the SQL inside a DO block, and whether some of it is only made when it runs."""
    try:
        functions = postgast.parse_plpgsql(text)
    except (postgast.PgQueryError, json.JSONDecodeError, ValueError):
        return [], True
    found: list[str] = []
    dynamic = False
    stack: list[Any] = [functions]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack += reversed(item)
        elif isinstance(item, dict):
            for key, value in reversed(item.items()):
                if key == "PLpgSQL_stmt_execsql":
                    found.append(value["sqlstmt"]["PLpgSQL_expr"]["query"])
                elif key in ("PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors"):
                    constant = parse_expression(
                        value.get("query", {}).get("PLpgSQL_expr", {}).get("query", "")
                    )
                    if constant is not None and constant.a_const.HasField("sval"):
                        found.append(constant.a_const.sval.sval)
                    else:
                        dynamic = True
                else:
                    stack.append(value)
    return list(reversed(found)), dynamic
