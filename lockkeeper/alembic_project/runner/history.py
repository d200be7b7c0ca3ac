"""Which revisions there are, and in which order Alembic would take them."""

import ast
import inspect
import textwrap
from typing import Any, Dict, Iterable, List, Sequence, Set, Tuple

from alembic.runtime.migration import HeadMaintainer, MigrationStep
from alembic.script import ScriptDirectory

from .failures import RunnerError


class _Simulation:
    """Stands in for a MigrationContext: HeadMaintainer changes its set of heads, and nothing is executed."""

    as_sql = True

    class _Table:
        def __getattr__(self, name: str) -> Any:
            return lambda *args, **kwargs: self

        class c:
            version_num = "version_num"

    def __init__(self) -> None:
        self.impl = self
        self._version = self._Table()

    def _exec(self, *args: Any, **kwargs: Any) -> None:
        return None


def as_tuple(value: Any) -> Tuple[str, ...]:
    """Return Alembic's None, string or sequence of strings as a tuple."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def describe(script: Any) -> Dict[str, Any]:
    """Return the facts of one revision."""
    return {
        "id": script.revision,
        "down": list(as_tuple(script.down_revision)),
        "depends_on": list(as_tuple(script.dependencies)),
        "branch_labels": sorted(script.branch_labels or ()),
        "message": (script.doc or "").strip(),
        "path": script.path,
        "irreversible": is_irreversible(script),
        "irreversible_because": _declared(script.module, "lockkeeper_irreversible"),
        "leaves": _declared_leaves(script),
    }


def _declared(module: Any, name: str) -> Any:
    reason = getattr(module, name, None)
    if reason is not None and not (isinstance(reason, str) and reason.strip()):
        raise RunnerError(f"{module.__file__}: {name} must be the reason, a text.")
    return reason


def _declared_leaves(script: Any) -> Dict[str, str]:
    leaves = getattr(script.module, "lockkeeper_leaves", {})
    if not isinstance(leaves, dict) or not all(
        isinstance(each, str) and each.strip() for pair in leaves.items() for each in pair
    ):
        raise RunnerError(
            f"{script.path}: lockkeeper_leaves must map what stays changed to the reason, "
            "as in {'public.users.email': 'the copies are dropped with the column'}."
        )
    return leaves


def everything(script: ScriptDirectory) -> List[Any]:
    """Return all revisions, each after those that it builds upon."""
    return list(reversed(list(script.walk_revisions("base", "heads"))))


def applied(script: ScriptDirectory, heads: Iterable[str]) -> Set[str]:
    """Return the revisions that a version table with ``heads`` stands for, dependencies included."""
    found: Set[str] = set()
    queue = list(heads)
    while queue:
        revision = script.get_revision(queue.pop())
        if revision is not None and revision.revision not in found:
            found.add(revision.revision)
            queue += [*as_tuple(revision.down_revision), *_dependencies(revision)]
    return found


def _dependencies(revision: Any) -> Tuple[str, ...]:
    resolved = getattr(revision, "_resolved_dependencies", None)
    return as_tuple(resolved if resolved is not None else revision.dependencies)


def check_known(script: ScriptDirectory, heads: Iterable[str]) -> None:
    """Raise RunnerError when the database is at a revision that the project does not have."""
    known = {each.revision for each in everything(script)}
    unknown = sorted(set(heads) - known)
    if unknown:
        raise RunnerError(
            "The database is at revision {}, which this project does not have. It is another project's "
            "database, or the project's checkout is older than the database: check out the version that "
            "migrated it last.".format(", ".join(map(repr, unknown)))
        )


def upgrade_path(script: ScriptDirectory, destination: str, heads: Sequence[str]) -> List[Any]:
    """Return the revisions between ``heads`` and ``destination``, in Alembic's own order."""
    check_known(script, heads)
    if destination == "head" and len(script.get_heads()) > 1:
        raise RunnerError(
            "The project has several heads: {}. Name one of them, or use 'heads' for all.".format(
                ", ".join(script.get_heads())
            )
        )
    if destination == "base" or destination.startswith("-"):
        raise RunnerError(f"{destination!r} lies behind; a migration goes ahead. To go back, downgrade.")
    steps = [step.revision for step in script._upgrade_revs(destination, tuple(heads))]  # type: ignore[arg-type]
    if not steps:
        _refuse_behind(script, destination, heads)
    return steps


def _refuse_behind(script: ScriptDirectory, destination: str, heads: Sequence[str]) -> None:
    """Nothing to do is right when the destination is where the database stands, not when it lies behind."""
    if destination[:1] in "+-" or "@" in destination or destination in ("head", "heads"):
        return
    revision = script.get_revision(destination)
    if revision is not None and revision.revision not in heads:
        raise RunnerError(
            f"Revision {revision.revision} is already applied and others on top of it (the database is at "
            f"{', '.join(heads)}). A migration goes ahead; to go back, restore or downgrade."
        )


def downgrade_path(script: ScriptDirectory, heads: Sequence[str], to: Sequence[str]) -> List[Any]:
    """Return the revisions to revert, last applied first, so that the version table holds ``to`` again."""
    check_known(script, [*heads, *to])
    gone = applied(script, heads) - applied(script, to)
    steps = [revision for revision in reversed(everything(script)) if revision.revision in gone]
    after = simulate(script, steps, heads, downgrade=True)[-1] if steps else sorted(heads)
    if after != sorted(to):
        raise RunnerError(
            f"No downgrade leads from {', '.join(sorted(heads)) or 'base'} to "
            f"{', '.join(sorted(to)) or 'base'}: it would end at {', '.join(after) or 'base'}."
        )
    return steps


def simulate(
    script: ScriptDirectory, steps: Sequence[Any], heads: Sequence[str], *, downgrade: bool = False
) -> List[List[str]]:
    """Return the version table's content after each step, as Alembic itself would write it."""
    maintainer = HeadMaintainer(_Simulation(), list(heads))  # type: ignore[arg-type]
    result = []
    for revision in steps:
        maintainer.update_to_step(migration_step(script, revision, downgrade=downgrade))
        result.append(sorted(maintainer.heads))
    return result


def migration_step(script: ScriptDirectory, revision: Any, *, downgrade: bool) -> Any:
    """Return Alembic's own object for one step."""
    if downgrade and not hasattr(revision.module, "downgrade"):
        revision.module.downgrade = _no_downgrade  # Alembic looks for it even to count heads
    make = MigrationStep.downgrade_from_script if downgrade else MigrationStep.upgrade_from_script
    return make(script.revision_map, revision)


def _no_downgrade() -> None:
    raise NotImplementedError("its file has no downgrade()")


def is_irreversible(script: Any) -> bool:
    """Whether it says that it cannot be reverted: no downgrade, an empty one, or one that only raises.

    An empty downgrade is right where the upgrade is empty too, as in a merge.
    """
    downgrade = _body(script.module, "downgrade")
    if downgrade is None:
        return not hasattr(script.module, "downgrade")
    if not downgrade:
        return bool(_body(script.module, "upgrade") != [])
    return all(isinstance(node, ast.Raise) for node in downgrade)


def _body(module: Any, name: str) -> Any:
    """Return the statements of a function that do something, or None when its source cannot be read."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(getattr(module, name))))
    except (AttributeError, OSError, TypeError, SyntaxError):
        return None
    function = tree.body[0]
    if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return None
    return [node for node in function.body if not _does_nothing(node)]


def _does_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Return):
        return node.value is None or isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
