"""ALTER TABLE's other actions, and statements that lock, rewrite or empty a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from postgast import pg_query_pb2 as pb

from lockkeeper.lint.names import Name, of_relation, quoted
from lockkeeper.lint.parsing import Node, rewrite
from lockkeeper.lint.rules import columns, constraints, identity, partitions
from lockkeeper.lint.rules.objects import owner_changed
from lockkeeper.lint.verdicts import Scene, Verdict, judges, steps, warning

_ACTIONS: dict[int, Callable[[Name, Node, Scene], Iterator[Verdict]]] = {
    pb.AT_AddColumn: columns.add_column,
    pb.AT_SetNotNull: columns.set_not_null,
    pb.AT_AlterColumnType: columns.change_type,
    pb.AT_DropColumn: columns.drop_column,
    pb.AT_DropNotNull: columns.loosen,
    pb.AT_ColumnDefault: identity.change_default,
    pb.AT_AddIdentity: identity.add_identity,
    pb.AT_SetIdentity: identity.set_identity,
    pb.AT_DropIdentity: identity.drop_identity,
    pb.AT_DropExpression: identity.drop_expression,
    pb.AT_SetExpression: columns.set_expression,
    pb.AT_AddConstraint: constraints.add_constraint,
    pb.AT_ValidateConstraint: constraints.validate,
}
_REWRITES = {
    pb.AT_SetLogged: "SET LOGGED",
    pb.AT_SetUnLogged: "SET UNLOGGED",
    pb.AT_SetTableSpace: "SET TABLESPACE",
    pb.AT_SetAccessMethod: "SET ACCESS METHOD",
}
_DISABLE = frozenset({
    pb.AT_DisableTrig, pb.AT_DisableTrigAll, pb.AT_DisableTrigUser, pb.AT_DisableRule,
    pb.AT_EnableReplicaTrig, pb.AT_EnableReplicaRule,
})  # fmt: skip
_FOR_REPLICAS = frozenset({pb.AT_EnableReplicaTrig, pb.AT_EnableReplicaRule})
_TABLES = frozenset({pb.OBJECT_TABLE, pb.OBJECT_FOREIGN_TABLE, pb.OBJECT_VIEW, pb.OBJECT_MATVIEW, 0})
# Modes of LOCK TABLE that conflict with an INSERT's, and their names.
_SHARE_LOCK = 5
_FULL, _NOTHING = "f", "n"  # of REPLICA IDENTITY (pg_class.h)
_OFF = frozenset({"false", "off", "no", "0", "f"})
_LOCK_MODES = {5: "SHARE", 6: "SHARE ROW EXCLUSIVE", 7: "EXCLUSIVE", 8: "ACCESS EXCLUSIVE"}


@judges("alter_table_stmt")
def alter_table(node: Node, scene: Scene) -> Iterator[Verdict]:
    """Judge every action of an ALTER TABLE."""
    table = of_relation(node.relation)
    for each in node.cmds:
        command = each.alter_table_cmd
        if command.subtype == pb.AT_DropConstraint:
            yield from constraints.drop_constraint(table, command, scene, replaced=_adds_primary_key(node))
        elif node.objtype == pb.OBJECT_TYPE:
            yield from _composite(table, command)
        elif node.objtype in _TABLES:
            action = _ACTIONS.get(command.subtype, _other)
            yield from action(table, command, scene)
        elif command.subtype in _REWRITES:
            yield from _other(table, command, scene)


def _adds_primary_key(node: Node) -> bool:
    return any(
        each.alter_table_cmd.subtype == pb.AT_AddConstraint
        and getattr(each.alter_table_cmd, "def").constraint.contype == pb.CONSTR_PRIMARY
        for each in node.cmds
    )


def _other(table: Name, command: Node, scene: Scene) -> Iterator[Verdict]:
    subtype = command.subtype
    if subtype in _REWRITES:
        yield scene.unless_harmless(table, Verdict(
            "table-rewrite",
            f"{_REWRITES[subtype]} writes all of {table} again under ACCESS EXCLUSIVE: nobody reads or "
            "writes it meanwhile.",
            f"-- make a new table beside {table}, fill it in batches, and let it take the name",
        ))  # fmt: skip
    elif subtype == pb.AT_AttachPartition:
        yield from partitions.attach(table, getattr(command, "def").partition_cmd, scene)
    elif subtype == pb.AT_DetachPartition:
        yield from partitions.detach(table, getattr(command, "def").partition_cmd, scene)
    elif subtype in _DISABLE:
        what = quoted(command.name) if command.name else "triggers"
        off = "fires for replicas only" if subtype in _FOR_REPLICAS else "is disabled"
        yield scene.unless_new(table, Verdict(
            "disable-trigger",
            f"While {what} of {table} {off}, rows of the running application get past it (foreign keys "
            "and dual writes are triggers, too). Takes SHARE ROW EXCLUSIVE until the commit.",
            "-- let the trigger's function ask for a setting that the migration makes with SET LOCAL",
        ))  # fmt: skip
    elif subtype == pb.AT_ReplicaIdentity:
        yield from _replica_identity(table, getattr(command, "def").replica_identity_stmt, scene)
    elif subtype == pb.AT_SetRelOptions:
        yield from _storage(table, getattr(command, "def").list.items, scene)
    elif subtype == pb.AT_ChangeOwner:
        if ("any", scene.known.key(table)) not in scene.known.made_in_revision:
            yield owner_changed(str(table))
    else:
        yield from _row_security(table, subtype, scene)


def _storage(table: Name, options: Sequence[Node], scene: Scene) -> Iterator[Verdict]:
    """SET (...): taken at once, under a lock that nobody waits for; what it switches off is the danger."""
    for each in (option.def_elem for option in options):
        value = each.arg.string.sval or "".join(part.string.sval for part in each.arg.type_name.names)
        if each.defname == "autovacuum_enabled" and value.lower() in _OFF:
            yield scene.unless_new(table, warning(
                "autovacuum-off",
                f"Dead rows of {table} are kept and its statistics grow old until it is switched on again.",
                f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = ...); -- or gentler, not off",
            ))  # fmt: skip


def _replica_identity(table: Name, identity: Node, scene: Scene) -> Iterator[Verdict]:
    if identity.identity_type == _FULL:
        yield scene.unless_new(table, warning(
            "replica-identity-full",
            f"Every UPDATE and DELETE of {table} writes the whole old row into the WAL from now on, and a "
            "subscriber has to find it by all its columns.",
            f"ALTER TABLE {table} REPLICA IDENTITY USING INDEX ...; -- unique, of columns that are NOT NULL",
        ))  # fmt: skip
    elif identity.identity_type == _NOTHING:
        yield scene.unless_new(table, warning(
            "replica-identity-nothing",
            f"Where {table} is published, every UPDATE and DELETE of it fails.",
            f"ALTER TABLE {table} REPLICA IDENTITY DEFAULT; -- its primary key",
        ))  # fmt: skip


def _row_security(table: Name, subtype: int, scene: Scene) -> Iterator[Verdict]:
    key = scene.known.key(table)
    has_policy = ("policy", key) in scene.known.made_in_revision or key in scene.known.policies
    if subtype in (pb.AT_EnableRowSecurity, pb.AT_ForceRowSecurity) and not has_policy:
        yield scene.unless_new(table, Verdict(
            "row-security",
            f"Row security without a policy hides every row of {table} from everybody but its owner.",
            steps(f"CREATE POLICY ... ON {table} ...; -- in the same transaction, before:",
                  f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"),
        ))  # fmt: skip
    elif subtype == pb.AT_DisableRowSecurity:
        yield scene.unless_new(table, Verdict(
            "row-security",
            f"Every role with privileges on {table} sees and changes all its rows from now on.",
            f"-- keep row security, with a policy that says so: CREATE POLICY ... ON {table} USING (true);",
        ))  # fmt: skip


def _composite(name: Name, command: Node) -> Iterator[Verdict]:
    if command.subtype in (pb.AT_DropColumn, pb.AT_AlterColumnType):
        yield Verdict(
            "column-type-change",
            f"Columns of the composite type {name} are rewritten or lose an attribute while in use.",
            f"-- make a new type beside {name} and move the columns over",
        )


@judges("truncate_stmt")
def truncate(node: Node, scene: Scene) -> Iterator[Verdict]:
    """TRUNCATE: gone, and nobody reads meanwhile."""
    for each in node.relations:
        table = of_relation(each.range_var)
        more = (
            " CASCADE empties every table that refers to it, too." if node.behavior == pb.DROP_CASCADE else ""
        )
        yield scene.unless_new(table, Verdict(
            "truncate",
            f"Every row of {table} is gone, under ACCESS EXCLUSIVE.{more}",
            f"-- delete what is meant in batches: DELETE FROM {table} WHERE id BETWEEN ... AND ...;",
        ))  # fmt: skip


@judges("lock_stmt")
def lock_table(node: Node, scene: Scene) -> Iterator[Verdict]:
    """LOCK TABLE: in all modes that an INSERT waits for."""
    if node.mode < _SHARE_LOCK:
        return
    for each in node.relations:
        table = of_relation(each.range_var)
        yield scene.unless_harmless(table, Verdict(
            "lock-table",
            f"{_LOCK_MODES[node.mode]} on {table} until the transaction ends: writers wait"
            + (", readers, too." if node.mode == max(_LOCK_MODES) else "."),
            f"LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE; -- keeps other migrations out, nobody else",
        ))  # fmt: skip


@judges("alter_table_move_all_stmt")
def move_all(node: Node, scene: Scene) -> Iterator[Verdict]:
    """ALTER TABLE ALL IN TABLESPACE: every table there, one after the other, all locked to the end."""
    yield Verdict(
        "table-rewrite",
        f"Everything in the tablespace {quoted(node.orig_tablespacename)} is written again under ACCESS "
        "EXCLUSIVE, all of it locked until the last is done.",
        f"-- pg_repack moves one table after the other to {quoted(node.new_tablespacename)} beside the "
        "application",
    )


@judges("create_policy_stmt")
def restrictive_policy(node: Node, scene: Scene) -> Iterator[Verdict]:
    """CREATE POLICY ... AS RESTRICTIVE takes rows away from whoever saw them."""
    table = of_relation(node.table)
    if not node.permissive:
        yield scene.unless_new(table, warning(
            "row-security",
            f"Rows of {table} that the policy {quoted(node.policy_name)} does not let through are gone for "
            "the running application.",
            "-- test it as the application's role first: SET ROLE ...; SELECT count(*) ...",
        ))  # fmt: skip


@judges("cluster_stmt")
def cluster(node: Node, scene: Scene) -> Iterator[Verdict]:
    """CLUSTER rewrites."""
    table = of_relation(node.relation)
    subject = str(table) or "every clustered table"
    yield scene.unless_harmless(table, Verdict(
        "table-rewrite",
        f"CLUSTER rewrites {subject} under ACCESS EXCLUSIVE: nobody reads or writes meanwhile.",
        f"-- pg_repack or pg_squeeze reorder {subject} beside the application",
    ))  # fmt: skip


@judges("vacuum_stmt")
def vacuum_full(node: Node, scene: Scene) -> Iterator[Verdict]:
    """VACUUM FULL rewrites; VACUUM and ANALYZE hold nobody up."""
    options = {each.def_elem.defname for each in node.options}
    tables = [of_relation(each.vacuum_relation.relation) for each in node.rels] or [Name("", "")]
    for table in tables if node.is_vacuumcmd and "full" in options else ():
        subject = str(table) or "every table"
        yield scene.unless_harmless(table, Verdict(
            "table-rewrite",
            f"VACUUM FULL rewrites {subject} under ACCESS EXCLUSIVE: nobody reads or writes meanwhile.",
            f"VACUUM {table}".strip() + "; -- or pg_repack, where the space must go back",
        ))  # fmt: skip


@judges("refresh_mat_view_stmt")
def refresh(node: Node, scene: Scene) -> Iterator[Verdict]:
    """REFRESH MATERIALIZED VIEW without CONCURRENTLY locks readers out."""
    view = of_relation(node.relation)
    if node.concurrent:
        return
    copy = pb.RefreshMatViewStmt()
    copy.CopyFrom(node)
    copy.concurrent, copy.skip_data = True, False
    yield scene.unless_harmless(view, Verdict(
        "refresh-without-concurrently",
        f"ACCESS EXCLUSIVE on {view} while its query runs: nobody reads it meanwhile, nor while it waits for "
        "those who read it.",
        rewrite("refresh_mat_view_stmt", copy) + f"; -- needs a UNIQUE index on {view}",
    ))  # fmt: skip


@judges("create_trig_stmt")
def create_trigger(node: Node, scene: Scene) -> Iterator[Verdict]:
    """CREATE TRIGGER is quick, but its function runs in every transaction of the application from then on."""
    table = of_relation(node.relation)
    yield scene.unless_new(table, warning(
        "create-trigger",
        f"From the commit on {quoted(node.trigname)} runs inside the application's writes to {table}: an "
        "error in it is theirs. Takes SHARE ROW EXCLUSIVE until the commit.",
        "-- qualify every name in its function, set its search_path, and commit at once",
    ))  # fmt: skip


@judges("rule_stmt")
def create_rule(node: Node, scene: Scene) -> Iterator[Verdict]:
    """CREATE RULE changes the application's statements."""
    table = of_relation(node.relation)
    yield scene.unless_new(table, warning(
        "create-trigger",
        f"The rule {quoted(node.rulename)} rewrites the application's statements on {table}.",
        "-- a trigger says the same with fewer surprises",
    ))  # fmt: skip
