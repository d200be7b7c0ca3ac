"""Where the database differs from the project's models, in sentences."""

import hashlib
from collections import defaultdict
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

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
    return [sentence for diff in _without_quarantine(diffs, metadata) for sentence in sentences(diff)]


def _without_quarantine(diffs: Sequence[Any], models: Any = ()) -> List[Any]:
    """Leave out what a column's change has put out of sight until it is over, or called otherwise till then.

    As lockkeeper/ops/quarantine.py does for new revisions.
    """
    known = _names_at_hand(diffs, models)
    waiting, unwanted = _carried(diffs, known)
    return [
        diff
        for diff in diffs
        if _named(diff) in unwanted
        or (_named(diff) not in waiting and not _is_hidden(diff, known[_named(diff)[:2]]))
    ]


def _names_at_hand(diffs: Sequence[Any], models: Any) -> Dict[Any, Set[str]]:
    names: Dict[Any, Set[str]] = defaultdict(set)
    for diff in diffs:
        names[_named(diff)[:2]].add(_named(diff)[2])
    for metadata in models if isinstance(models, (list, tuple)) else [models]:
        for table in metadata.tables.values():
            things = [*table.columns, *table.indexes, *table.constraints]
            names[(table.schema, table.name)].update(str(one.name) for one in things if one.name)
    return names


def _carried(diffs: Sequence[Any], known: Dict[Any, Set[str]]) -> Tuple[Set[Any], Set[Any]]:
    """Return what waits for its name, and what the models want no longer, under either name."""
    ways: Dict[Any, Set[str]] = defaultdict(set)
    for diff in diffs:
        if _thing(diff) is not None and not str(diff[0]).endswith("_column"):
            ways[_named(diff)].add(str(diff[0]).partition("_")[0])
    waiting: Set[Any] = set()
    unwanted: Set[Any] = set()
    for (schema, table, name), which in list(ways.items()):
        base = _base(name, known[(schema, table)])
        if base:
            pair = {(schema, table, name), (schema, table, base)}
            (unwanted if ways.get((schema, table, base)) == which else waiting).update(pair)
    return waiting, unwanted


def _base(name: str, known: Iterable[str]) -> Optional[str]:
    if name.endswith(CARRIED):
        return name[: -len(CARRIED)]
    return next((each for each in known if _derived(each, CARRIED) == name), None)


def _derived(name: str, suffix: str) -> str:
    """Return what lockkeeper.online.ddl.derived_name does; this runs in the project's own interpreter."""
    whole = (name + suffix).encode()
    end = "_" + hashlib.sha256(whole).hexdigest()[:8]
    return name + suffix if len(whole) <= 63 else whole[: 63 - len(end)].decode(errors="ignore") + end


def _is_hidden(diff: Any, known: Iterable[str]) -> bool:
    marks = {QUARANTINED, CARRIED}
    marks |= {_derived(each, suffix) for each in known for suffix in (QUARANTINED, CARRIED)}
    return any(mark in text for text in _columns(diff) for mark in marks)


def _thing(diff: Any) -> Any:
    """Return the index, constraint or column that comes or goes; None for other differences."""
    if isinstance(diff, list) or not str(diff[0]).startswith(("add_", "remove_")):
        return None
    return diff[3] if str(diff[0]).endswith("_column") else diff[1]


def _named(diff: Any) -> Tuple[Optional[str], str, str]:
    """Return schema, table and name of what comes or goes; empty names for other differences."""
    thing = _thing(diff)
    if thing is not None and str(diff[0]).endswith("_column"):
        return diff[1], diff[2], str(thing.name)
    table = getattr(thing, "table", None)
    return getattr(table, "schema", None), str(getattr(table, "name", "")), str(getattr(thing, "name", ""))


def _columns(diff: Any) -> List[str]:
    thing = _thing(diff)
    if thing is None or not str(diff[0]).startswith("remove_") or str(diff[0]).endswith("_table"):
        return []
    if str(diff[0]).endswith("_column"):
        return [str(thing.name)]
    options = getattr(thing, "dialect_kwargs", {}).values()
    return [str(column.name) for column in getattr(thing, "columns", ())] + [str(each) for each in options]


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
        yield f"{_in_words(thing, diff)} {where}"
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


def _in_words(thing: str, diff: Any) -> str:
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
