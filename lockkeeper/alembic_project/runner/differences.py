"""Where the database differs from the project's models, in sentences."""

from typing import Any, Iterator, List, Optional

from alembic import autogenerate

QUARANTINED = "_lockkeeper_old"


def find(context: Any) -> Optional[List[str]]:
    """Compare as ``alembic check`` does, with the hooks that env.py configured; None without models."""
    metadata = context.opts.get("target_metadata")
    if metadata is None or (isinstance(metadata, (list, tuple)) and not metadata):
        return None
    script = autogenerate.produce_migrations(context, metadata)
    directives: List[Any] = [script]
    hook = context.opts.get("process_revision_directives")
    if hook:
        hook(context, context.get_current_heads(), directives)
    return [
        sentence
        for each in directives
        for diff in each.upgrade_ops.as_diffs()
        if not _is_quarantined(diff)
        for sentence in sentences(diff)
    ]


def _is_quarantined(diff: Any) -> bool:
    """Whether it is a column that a rename has put out of the application's sight until it is dropped."""
    return bool(diff[0] == "remove_column" and diff[3].name.endswith(QUARANTINED))


def sentences(diff: Any) -> Iterator[str]:
    """Put one of Alembic's differences (a tuple, or a list of tuples for one column) into words."""
    if isinstance(diff, list):
        for each in diff:
            yield from sentences(each)
        return
    kind = diff[0]
    if kind.startswith("modify_"):
        yield _modified(kind[len("modify_") :], *diff[1:4], *diff[-2:])
    elif kind.startswith(("add_", "remove_")):
        verb, _, thing = kind.partition("_")
        where = (
            "is in the models, not in the database"
            if verb == "add"
            else "is in the database, not in the models"
        )
        yield f"{_named(thing, diff)} {where}"
    else:
        yield " ".join(map(str, diff))


def _modified(aspect: str, schema: Optional[str], table: str, column: str, database: Any, models: Any) -> str:
    name = ".".join(part for part in (schema, table, column) if part)
    if aspect == "nullable":
        words = {True: "may be NULL", False: "is NOT NULL"}
        return (
            f"column {name} {words[bool(database)]} in the database and {words[bool(models)]} in the models"
        )
    return f"column {name}: {aspect} is {_shown(database)} in the database and {_shown(models)} in the models"


def _shown(value: Any) -> str:
    if value is None or value is False:
        return "absent"
    argument = getattr(value, "arg", value)
    return str(getattr(argument, "text", argument))


def _named(thing: str, diff: Any) -> str:
    if thing == "column":
        return "column " + ".".join(part for part in (diff[1], diff[2], diff[3].name) if part)
    item = diff[1]
    table = getattr(item, "table", None)
    name = str(getattr(item, "name", None) or "without a name")
    if thing in ("table", "table_comment") or table is None:
        schema = getattr(item, "schema", None)
        return "{} {}".format(thing.replace("_", " "), f"{schema}.{name}" if schema else name)
    words = {"fk": "foreign key", "constraint": type(item).__name__}.get(thing, thing)
    return f"{words} {name} on {table.fullname}"
