"""Dropping, renaming and moving what the running application uses."""

from __future__ import annotations

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from lockkeeper.lint.names import Name, of_object, of_parts, of_relation, quoted
from lockkeeper.lint.parsing import Node
from lockkeeper.lint.verdicts import Scene, Verdict, cleared, judges, steps, warning

_USED = {
    pb.OBJECT_TABLE: "table", pb.OBJECT_FOREIGN_TABLE: "table", pb.OBJECT_VIEW: "view",
    pb.OBJECT_MATVIEW: "materialized view", pb.OBJECT_SCHEMA: "schema", pb.OBJECT_FUNCTION: "function",
    pb.OBJECT_PROCEDURE: "procedure", pb.OBJECT_ROUTINE: "routine",
}  # fmt: skip
_LESS_USED = {
    pb.OBJECT_SEQUENCE: "sequence", pb.OBJECT_TYPE: "type", pb.OBJECT_DOMAIN: "domain",
    pb.OBJECT_EXTENSION: "extension", pb.OBJECT_POLICY: "policy", pb.OBJECT_TRIGGER: "trigger",
    pb.OBJECT_RULE: "rule", pb.OBJECT_PUBLICATION: "publication", pb.OBJECT_AGGREGATE: "aggregate",
    pb.OBJECT_OPERATOR: "operator", pb.OBJECT_CAST: "cast", pb.OBJECT_COLLATION: "collation",
    pb.OBJECT_FOREIGN_SERVER: "foreign server", pb.OBJECT_EVENT_TRIGGER: "event trigger",
    pb.OBJECT_TSCONFIGURATION: "text search configuration",
}  # fmt: skip
_WORKS_UNSEEN = frozenset({"policy", "trigger", "rule", "publication", "event trigger"})
_RENAMED = {
    **_USED, pb.OBJECT_SEQUENCE: "sequence", pb.OBJECT_TYPE: "type", pb.OBJECT_DOMAIN: "domain",
    pb.OBJECT_ROLE: "role", pb.OBJECT_DATABASE: "database",
}  # fmt: skip
_RELATIONS = frozenset({pb.OBJECT_TABLE, pb.OBJECT_FOREIGN_TABLE, pb.OBJECT_VIEW, pb.OBJECT_MATVIEW})


@judges("drop_stmt")
def drop_objects(node: Node, scene: Scene) -> Iterator[Verdict]:
    """DROP of anything but an index."""
    kind = _USED.get(node.remove_type) or _LESS_USED.get(node.remove_type)
    cascade = node.behavior == pb.DROP_CASCADE
    for each in node.objects:
        name = of_object(each)
        if node.remove_type == pb.OBJECT_TABLE:
            yield scene.unless_new(name, _dropped_table(name, cascade))
        elif kind and ("any", scene.known.key(name)) in scene.known.made_in_revision:
            yield cleared("drop-object", f"the revision makes {name} again")
        elif kind and (node.remove_type in _USED or cascade):
            more = " CASCADE also drops what depends on it, unseen." if cascade else ""
            yield Verdict(
                "drop-object",
                f"Statements of the running application that use the {kind} {name} fail.{more}",
                f"-- release an application version that does not use {name} first; drop what depends on it "
                "by name",
            )
        elif kind in _WORKS_UNSEEN:
            yield warning(
                "drop-object", f"What the {kind} {name} did for the application is not done any more."
            )
        elif kind:
            yield warning("drop-object", f"Whoever still uses the {kind} {name} fails.")


def _dropped_table(name: Name, cascade: bool) -> Verdict:
    more = " CASCADE also drops foreign keys and views that refer to it, unseen." if cascade else ""
    return Verdict(
        "drop-table",
        f"The running application's statements on {name} fail, and its rows are gone.{more}",
        steps(
            f"-- first release an application version that does not use {name}; then, in a release of its "
            "own, the same statement after:",
            "-- lockkeeper: allow drop-table because no released version uses it any more",
        ),
    )


@judges("dropdb_stmt", "drop_owned_stmt")
def drop_everything(node: Node, scene: Scene) -> Iterator[Verdict]:
    """DROP DATABASE and DROP OWNED."""
    subject = quoted(node.dbname) if scene.parsed.kind == "dropdb_stmt" else "everything that the role owns"
    yield Verdict("drop-object", f"{subject} is gone, with all data.", "-- not in a migration")


@judges("rename_stmt")
def rename_object(node: Node, scene: Scene) -> Iterator[Verdict]:
    """RENAME: the old name is gone in the same instant for every running application version."""
    renamed, new = node.rename_type, quoted(node.newname)
    if renamed in (pb.OBJECT_COLUMN, pb.OBJECT_ATTRIBUTE):
        table, old = of_relation(node.relation), quoted(node.subname)
        yield scene.unless_new(table, Verdict(
            "rename-column",
            f"Statements of the running application that name {table}.{old} fail from the commit on.",
            steps(
                f"ALTER TABLE {table} ADD COLUMN {new} ...; -- of {old}'s type",
                f"-- triggers keep {old} and {new} alike; fill {new} in batches; release an application that "
                f"uses {new};",
                f"-- in a later release: ALTER TABLE {table} DROP COLUMN {old};",
            ),
        ))  # fmt: skip
    elif renamed in _RELATIONS:
        yield _renamed_relation(of_relation(node.relation), new, scene)
    elif renamed in _RENAMED:
        name = of_relation(node.relation) if node.HasField("relation") else of_object(node.object)
        name = name if name.name else Name("", node.subname)
        if ("any", scene.known.key(name)) in scene.known.made_in_revision:
            yield cleared("rename-object", f"the revision makes {name} again")
            return
        yield Verdict(
            "rename-object",
            f"Whoever names the {_RENAMED[renamed]} {name} fails from the commit on.",
            f"-- make {new} beside {name}, release an application that uses it, then drop {name}",
        )


def _renamed_relation(table: Name, new: str, scene: Scene) -> Verdict:
    if ("any", scene.known.key(table)) in scene.known.made_in_revision and not scene.known.is_new(table):
        return cleared("rename-table", f"the revision makes {table} again")
    return scene.unless_new(table, Verdict(
        "rename-table",
        f"Statements of the running application on {table} fail from the commit on.",
        steps(
            f"ALTER TABLE {table} RENAME TO {new};",
            f"CREATE VIEW {table} AS SELECT * FROM {new}; -- in the same transaction, for the old version",
            "-- drop the view when no released version uses it any more",
        ),
    ))  # fmt: skip


@judges("alter_object_schema_stmt")
def move_object(node: Node, scene: Scene) -> Iterator[Verdict]:
    """SET SCHEMA: the same as a rename."""
    if node.object_type in _RELATIONS:
        table, schema = of_relation(node.relation), quoted(node.newschema)
        yield scene.unless_new(table, Verdict(
            "rename-table",
            f"Statements of the running application on {table} fail unless {schema} is on their search_path.",
            steps(
                f"ALTER TABLE {table} SET SCHEMA {schema};",
                f"CREATE VIEW {table} AS SELECT * FROM {schema}.{quoted(table.name)}; -- at once",
            ),
        ))  # fmt: skip
    elif node.object_type in _RENAMED:
        name = of_object(node.object) if node.HasField("object") else of_relation(node.relation)
        yield Verdict(
            "rename-object",
            f"Whoever names the {_RENAMED[node.object_type]} {name} fails from the commit on.",
            f"-- make it in {quoted(node.newschema)} too, and drop {name} in a later release",
        )


@judges("grant_stmt")
def revoke(node: Node, scene: Scene) -> Iterator[Verdict]:
    """REVOKE may take what the application needs; GRANT harms nobody."""
    if node.is_grant:
        return
    names = ", ".join(
        str(of_relation(each.range_var) if each.WhichOneof("node") == "range_var" else of_object(each))
        for each in node.objects
    )
    yield warning("revoke", f"The running application may need the privilege on {names} that is revoked.")


@judges("grant_role_stmt")
def revoke_role(node: Node, scene: Scene) -> Iterator[Verdict]:
    """REVOKE of a role takes all its privileges."""
    if not node.is_grant:
        roles = ", ".join(quoted(each.access_priv.priv_name) for each in node.granted_roles)
        yield warning("revoke", f"The running application may need what it may do as {roles}.")


@judges("drop_role_stmt")
def drop_role(node: Node, scene: Scene) -> Iterator[Verdict]:
    """DROP ROLE: nobody logs in as it any more."""
    roles = ", ".join(quoted(each.role_spec.rolename) for each in node.roles)
    yield warning("drop-object", f"Whoever still connects as the role {roles} fails.")


@judges("alter_owner_stmt")
def change_owner(node: Node, scene: Scene) -> Iterator[Verdict]:
    """OWNER TO of what is no table."""
    name = of_object(node.object) if node.HasField("object") else of_relation(node.relation)
    if ("any", scene.known.key(name)) not in scene.known.made_in_revision:
        yield owner_changed(str(name))


@judges("reassign_owned_stmt")
def reassign_owned(node: Node, scene: Scene) -> Iterator[Verdict]:
    """REASSIGN OWNED: OWNER TO of everything."""
    yield owner_changed("everything of " + ", ".join(quoted(each.role_spec.rolename) for each in node.roles))


def owner_changed(what: str) -> Verdict:
    """Return the warning that a former owner loses what only owners, and nobody else by a GRANT, may do."""
    return warning(
        "change-owner",
        f"The former owner of {what} has no privileges on it any more but those that are granted.",
        "GRANT ... TO ...; -- in the same transaction, where the application is the former owner",
    )


@judges("alter_enum_stmt")
def rename_enum_value(node: Node, scene: Scene) -> Iterator[Verdict]:
    """RENAME VALUE breaks whoever writes the old one; ADD VALUE is safe."""
    if node.old_val:
        name = of_parts(node.type_name)
        yield Verdict(
            "rename-object",
            f"The running application's '{node.old_val}' is no value of {name} any more.",
            f"ALTER TYPE {name} ADD VALUE '{node.new_val}'; -- move the rows in batches; leave "
            f"'{node.old_val}' in the type",
        )


@judges("create_publication_stmt")
def publish_everything(node: Node, scene: Scene) -> Iterator[Verdict]:
    """FOR ALL TABLES makes UPDATE and DELETE fail on tables without a key."""
    if node.for_all_tables:
        name = quoted(node.pubname)
        yield warning(
            "publication-for-all-tables",
            "From the commit on UPDATE and DELETE fail on every table without a replica identity.",
            f"CREATE PUBLICATION {name} FOR TABLE ...; -- the tables that have a primary key",
        )
