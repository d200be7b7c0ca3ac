"""Partitions: made, attached and detached beside the application, or in its way."""

from __future__ import annotations

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from lockkeeper.lint.known import shown
from lockkeeper.lint.names import Name, of_relation, parse_name, quoted
from lockkeeper.lint.parsing import Node, rewrite
from lockkeeper.lint.verdicts import AUTOCOMMIT, Scene, Verdict, cleared, judges, steps, warning

READS = "attach-partition-without-check"


@judges("create_stmt")
def create_partition(node: Node, scene: Scene) -> Iterator[Verdict]:
    """CREATE TABLE ... PARTITION OF locks the whole partitioned table; ATTACH PARTITION lets others pass."""
    if not node.HasField("partbound"):
        return
    child, parent = of_relation(node.relation), of_relation(node.inh_relations[0].range_var)
    yield from _reads_default(parent, child, scene)
    yield scene.unless_harmless(parent, Verdict(
        "partition-of-without-attach",
        f"CREATE TABLE ... PARTITION OF takes ACCESS EXCLUSIVE on {parent}, with all its partitions behind "
        "it: it waits for every query on them, with all later ones behind it.",
        steps(
            f"CREATE TABLE {child} (LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS);",
            "-- in the same revision, while it is empty:",
            _attaching(parent, child, node.partbound),
        ),
    ))  # fmt: skip


def _attaching(parent: Name, child: Name, bound: Node) -> str:
    """Return the ATTACH PARTITION that leads to the same."""
    statement = pb.AlterTableStmt(objtype=pb.OBJECT_TABLE)
    statement.relation.CopyFrom(_range_var(parent))
    command = statement.cmds.add().alter_table_cmd
    command.subtype, command.behavior = pb.AT_AttachPartition, pb.DROP_RESTRICT
    partition = getattr(command, "def").partition_cmd
    partition.name.CopyFrom(_range_var(child))
    partition.bound.CopyFrom(bound)
    return rewrite("alter_table_stmt", statement) + ";"


def _range_var(name: Name) -> Node:
    return pb.RangeVar(schemaname=name.schema, relname=name.name, inh=True, relpersistence="p")


def detach(table: Name, partition: Node, scene: Scene) -> Iterator[Verdict]:
    """DETACH PARTITION without CONCURRENTLY, which there is only where no partition is the DEFAULT."""
    if partition.concurrent:
        return
    rule, child = "detach-partition-without-concurrently", of_relation(partition.name)
    message = (
        f"DETACH PARTITION takes ACCESS EXCLUSIVE on {table}, with all its partitions behind it: it waits "
        "for every query on them, with all later ones behind it."
    )
    default = scene.known.default_partitions.get(scene.known.key(table))
    if default:
        yield warning(rule, f"{message} Beside a DEFAULT partition ({default}) there is no other way.")
        return
    advice = steps(
        f"-- outside of a transaction ({AUTOCOMMIT}):",
        f"ALTER TABLE {table} DETACH PARTITION {child} CONCURRENTLY;",
    )
    yield scene.unless_harmless(table, Verdict(rule, message, advice))


def attach(table: Name, partition: Node, scene: Scene) -> Iterator[Verdict]:
    """ATTACH PARTITION reads the partition, unless a validated CHECK says so, and the DEFAULT partition."""
    child = of_relation(partition.name)
    yield from _reads_default(table, child, scene)
    reason = _fits_because(child, partition.bound, scene)
    if reason is not None:
        yield cleared(READS, reason)
        return
    check = quoted(f"{child.name}_bounds")
    yield Verdict(
        READS,
        f"ATTACH PARTITION reads all of {child} under ACCESS EXCLUSIVE on it (and the DEFAULT partition of "
        f"{table}, if there is one).",
        steps(
            f"ALTER TABLE {child} ADD CONSTRAINT {check} CHECK (...) NOT VALID; -- NOT NULL and the bounds",
            "-- in a later transaction (a revision of its own):",
            f"ALTER TABLE {child} VALIDATE CONSTRAINT {check};",
            f"ALTER TABLE {table} ATTACH PARTITION {child} ...;",
        ),
    )


def _fits_because(child: Name, bound: Node, scene: Scene) -> str | None:
    """Return why nothing of the partition needs to be read, or why that harms nobody; else None."""
    bounds = [shown(each) for each in (*bound.lowerdatums, *bound.upperdatums, *bound.listdatums)]
    checks = scene.known.checks.get(scene.known.key(child), ())
    if bounds and any(c.validated and all(b in c.expression for b in bounds) for c in checks):
        return f"a validated CHECK of {child} says so already"
    return scene.known.harmless_because(child)


def _reads_default(table: Name, child: Name, scene: Scene) -> Iterator[Verdict]:
    """A further partition: the DEFAULT one is read, for rows that belong there now."""
    known = scene.known.default_partitions.get(scene.known.key(table))
    if not known:
        return
    default = scene.known.shown(scene.known.key(parse_name(known)))
    check = quoted(f"{default.name}_not_{child.name}")
    yield scene.unless_harmless(default, Verdict(
        READS,
        f"A new partition of {table} reads all of its DEFAULT partition {default} under ACCESS EXCLUSIVE.",
        steps(
            f"ALTER TABLE {default} ADD CONSTRAINT {check} CHECK (...) NOT VALID; -- not within the bounds",
            "-- in a later transaction (a revision of its own):",
            f"ALTER TABLE {default} VALIDATE CONSTRAINT {check};",
            f"-- then {child}, with allow {READS} because the CHECK of {default} says so",
        ),
    ))  # fmt: skip
