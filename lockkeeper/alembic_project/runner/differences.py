"""Where the database differs from the project's models, in sentences."""

from typing import Any, Iterator, List, Optional, Sequence

from alembic import autogenerate

QUARANTINED = "_lockkeeper_old"
CARRIED = "_lockkeeper_new"


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
    diffs = [diff for each in directives for diff in each.upgrade_ops.as_diffs()]
    return [sentence for diff in _without_quarantine(diffs) for sentence in sentences(diff)]


def _without_quarantine(diffs: Sequence[Any]) -> List[Any]:
    """Leave out what a column's change has put out of sight until it is over, or called otherwise till then.

    As lockkeeper/ops/quarantine.py does for new revisions.
    """
    things = [_thing(diff) for diff in diffs]
    carried = {str(getattr(thing, "name", "")) for thing in things}
    carried = {name for name in carried if name.endswith(CARRIED)}
    waiting = carried | {name[: -len(CARRIED)] for name in carried}
    return [
        diff
        for diff, thing in zip(diffs, things)
        if str(getattr(thing, "name", "")) not in waiting
        and not any(str(column.name).endswith(QUARANTINED) for column in _columns(diff, thing))
    ]


def _thing(diff: Any) -> Any:
    """Return the index, constraint or column that comes or goes; None for other differences."""
    if isinstance(diff, list) or not str(diff[0]).startswith(("add_", "remove_")):
        return None
    return diff[3] if str(diff[0]).endswith("_column") else diff[1]


def _columns(diff: Any, thing: Any) -> Sequence[Any]:
    if thing is None or not str(diff[0]).startswith("remove_") or str(diff[0]).endswith("_table"):
        return ()
    return (thing,) if str(diff[0]).endswith("_column") else tuple(getattr(thing, "columns", ()))


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
