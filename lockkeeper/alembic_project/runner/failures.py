"""What went wrong, in a form that can be sent to the parent."""

import os
import traceback
from typing import Any, Dict, Iterator, List, Optional

from alembic.util import CommandError

SHOWN_FRAMES = 8
_HERE = os.path.dirname(os.path.abspath(__file__))
_STANDARD = os.path.dirname(os.path.abspath(os.__file__))


class RunnerError(Exception):
    """Something that the runner itself refuses; ``kind`` tells the parent which of its errors to raise."""

    kind = "project"


class WrongDatabaseError(RunnerError):
    """The project connected to another database than the one it was given."""

    kind = "wrong_database"


class StaleError(RunnerError):
    """The version table does not hold what the plan began with."""

    kind = "stale"


class UncommittedError(RunnerError):
    """env.py ended without an error and without committing the revision."""

    kind = "uncommitted"


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and everything that it was raised from, each once."""
    queue: List[Optional[BaseException]] = [error]
    seen = set()
    while queue:
        current = queue.pop(0)
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        queue += [getattr(current, "orig", None), current.__cause__, current.__context__]


def sqlstate_of(error: BaseException) -> Optional[str]:
    """Return the SQLSTATE of the driver's error, whatever the driver (psycopg 2 and 3, asyncpg, pg8000)."""
    for current in chain(error):
        for name in ("sqlstate", "pgcode"):
            state = getattr(current, name, None)
            if isinstance(state, str) and len(state) == 5:
                return state
        first = current.args[0] if current.args else None
        if isinstance(first, dict) and isinstance(first.get("C"), str):
            return str(first["C"])
    return None


def describe(error: BaseException) -> Dict[str, Any]:
    """Return the facts of an error. The text may hold secrets: the parent redacts it."""
    sqlstate, told = sqlstate_of(error), _told(error)
    from_driver = any(type(each).__module__.startswith("sqlalchemy.") for each in chain(error))
    kind = getattr(error, "kind", None) or ("database" if sqlstate else "project")
    if kind == "project" and any(type(each).__name__ == "OperationalError" for each in chain(error)):
        kind = "database"
    return {
        "kind": kind,
        "type": type(told).__name__,
        "message": str(told).strip() or type(told).__name__,
        "sqlstate": sqlstate,
        "from_driver": from_driver,
        "irreversible": any(isinstance(each, NotImplementedError) for each in chain(error)),
        "traceback": _where(told),
    }


def _told(error: BaseException) -> BaseException:
    """Return what to tell: not what env.py stumbles over while it cleans up after the driver's error."""
    if not type(error).__module__.startswith("sqlalchemy.") or getattr(error, "orig", None) is not None:
        return error
    return next((each for each in chain(error) if getattr(each, "orig", None) is not None), error)


def _where(error: BaseException) -> str:
    """Return the frames of the project's own files; nothing where the message says it all."""
    if isinstance(error, (RunnerError, CommandError)):
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_of_the_project(frame.filename)]
    return "".join(traceback.format_list((own or frames)[-SHOWN_FRAMES:])).rstrip()


def _is_of_the_project(filename: str) -> bool:
    installed = os.sep + "site-packages" + os.sep
    return not (filename.startswith((_HERE, _STANDARD, "<")) or installed in filename)
