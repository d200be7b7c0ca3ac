"""Indexes: built and dropped beside the application, or in its way."""

from __future__ import annotations

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from lockkeeper.lint.names import Name, of_object, of_relation, quoted
from lockkeeper.lint.parsing import Node, rewrite
from lockkeeper.lint.verdicts import AUTOCOMMIT, Scene, Verdict, cleared, judges, steps, warning

_OUTSIDE = f"-- outside of a transaction, in a revision of its own ({AUTOCOMMIT}):"


@judges("index_stmt")
def create_index(node: Node, scene: Scene) -> Iterator[Verdict]:
    """CREATE INDEX without CONCURRENTLY."""
    if node.concurrent:
        return
    table = of_relation(node.relation)
    if not node.relation.inh:
        yield cleared("index-without-concurrently", "ON ONLY of a partitioned table builds nothing")
        return
    copy = pb.IndexStmt()
    copy.CopyFrom(node)
    copy.concurrent = True
    name = quoted(node.idxname) if node.idxname else "The index"
    advice = steps(_OUTSIDE, rewrite("index_stmt", copy) + ";")
    if scene.known.key(table) in scene.known.default_partitions:
        copy.concurrent, copy.relation.inh = False, False
        advice = steps(
            rewrite("index_stmt", copy) + "; -- builds nothing yet",
            f"-- for each partition, outside of a transaction: CREATE INDEX CONCURRENTLY ... ON it, then "
            f"ALTER INDEX {name} ATTACH PARTITION ...;",
        )
    yield scene.unless_harmless(table, Verdict(
        "index-without-concurrently",
        f"{name} is built under SHARE: nobody writes {table} until the transaction ends.",
        advice,
    ))  # fmt: skip


@judges("drop_stmt")
def drop_index(node: Node, scene: Scene) -> Iterator[Verdict]:
    """DROP INDEX without CONCURRENTLY."""
    if node.remove_type != pb.OBJECT_INDEX or node.concurrent:
        return
    rule = "drop-index-without-concurrently"
    missing_ok = "IF EXISTS " if node.missing_ok else ""
    for each in node.objects:
        name = of_object(each)
        table = scene.known.new_indexes.get(scene.known.key(name))
        if table is not None:
            yield cleared(rule, f"{name} is made by the same revision")
            continue
        message = (
            f"DROP INDEX {name} takes ACCESS EXCLUSIVE on its table and waits for every query on it, with "
            "all later ones behind it."
        )
        index = scene.known.indexes.get(scene.known.key(name))
        if index is not None and index.partitioned:
            yield warning(rule, f"{message} An index of a partitioned table has no other way to go.")
            continue
        verdict = Verdict(rule, message, steps(_OUTSIDE, f"DROP INDEX CONCURRENTLY {missing_ok}{name};"))
        yield verdict if index is None else scene.unless_harmless(index.table, verdict)


@judges("reindex_stmt")
def reindex(node: Node, scene: Scene) -> Iterator[Verdict]:
    """REINDEX without CONCURRENTLY."""
    if any(each.def_elem.defname == "concurrently" for each in node.params):
        return
    name = of_relation(node.relation)
    index = scene.known.indexes.get(scene.known.key(name))
    table = name if index is None else index.table
    copy = pb.ReindexStmt()
    copy.CopyFrom(node)
    copy.params.add().def_elem.CopyFrom(pb.DefElem(defname="concurrently", defaction=pb.DEFELEM_UNSPEC))
    subject = str(name) or node.name or "the database"
    system = node.kind == pb.REINDEX_OBJECT_SYSTEM
    yield scene.unless_harmless(table if name.name else Name("", ""), Verdict(
        "reindex-without-concurrently",
        f"REINDEX {subject} locks writers out of the tables, and readers out of the indexes; it waits for "
        "all of them first, with all later ones behind it.",
        "-- not while the application runs" if system
        else steps(_OUTSIDE, rewrite("reindex_stmt", copy) + ";"),
    ))  # fmt: skip
