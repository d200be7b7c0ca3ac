"""What a project's process says when something fails, and which of our errors that becomes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from lockkeeper.config import AlembicSettings
from lockkeeper.errors import AlembicProjectError, ConnectionLostError, DatabaseError, LockkeeperError
from lockkeeper.measured import SelfWait
from lockkeeper.online.errors import LOCK_NOT_AVAILABLE


class ChildFailure(LockkeeperError):
    """A request failed, or was not answered; ``facts`` is what the child said, redacted.

    ``self_wait`` tells which lock a session of the migration waited for that another one of it holds.

    To be judged: callers of this package see one of the errors of ``lockkeeper.errors`` instead.
    """

    def __init__(self, facts: dict[str, Any], self_wait: SelfWait | None = None) -> None:
        self.facts = facts
        self.self_wait = self_wait
        super().__init__(str(facts.get("message", "")))

    @property
    def kind(self) -> str:
        """project, database, wrong_database, stale, uncommitted, died, stopped or timeout."""
        return str(self.facts["kind"])

    @property
    def waits_for_itself(self) -> bool:
        """Whether it is a lock time-out that the next attempt will run into as well."""
        wait = self.self_wait
        return self.sqlstate == LOCK_NOT_AVAILABLE and wait is not None and wait.hopeless

    @property
    def sqlstate(self) -> str | None:
        """PostgreSQL's code, where the failure came from the server."""
        return self.facts.get("sqlstate")


def explained(failure: ChildFailure) -> str:
    """Say what a revision failed of, and which of its sessions waits for which."""
    if failure.facts.get("irreversible"):
        text = f"it says that it cannot be reverted ({failure})."
    else:
        text = str(failure).strip().rstrip(".") + "."
    return f"{text} It waits for itself: {failure.self_wait}." if failure.self_wait else text


def wrong_database_message(settings: AlembicSettings, where: str) -> str:
    """Say where the project connected to, and how to make it listen."""
    variable = (
        f"os.environ[{settings.url_env!r}]" if settings.url_env else "an environment variable (url_env)"
    )
    return (
        f"The project's env.py ignores the URL it is given and connects to {where}. Nothing was run there. "
        f"Make env.py take the URL from config.get_main_option('sqlalchemy.url') or from {variable}, name "
        "the variable that it reads (url_env), or the -x argument (x_arguments, e.g. {'url': '{url}'})."
    )


@contextlib.contextmanager
def converting_failures(settings: AlembicSettings) -> Iterator[None]:
    """Turn a failed request that only reads into one of the errors that callers know."""
    try:
        yield
    except ChildFailure as failure:
        if failure.kind == "wrong_database":
            raise AlembicProjectError(wrong_database_message(settings, str(failure))) from failure
        last = failure.facts.get("traceback", "")
        if failure.kind == "database":
            state = failure.sqlstate
            lost = state is None or state[:2] in ("08", "28") or state.startswith("57P")
            hint = (
                "Lockkeeper itself reached the database a moment ago: if the address is not yours, see "
                "url_env, x_arguments and driver of the target's Alembic settings. "
            )
            message = f"Alembic in {settings.folder}: {hint if lost else ''}{failure}"
            raise (ConnectionLostError if lost else DatabaseError)(message, state) from failure
        hint = _hint(f"{failure} {last}", settings)
        said = f"{str(failure).rstrip('.')}. {hint}" if hint else str(failure)
        raise AlembicProjectError(
            f"The Alembic project {settings.config_file}: {said}\n{last}".strip()
        ) from failure


def _hint(message: str, settings: AlembicSettings) -> str:
    if "async driver" in message:
        return "Set the target's Alembic driver, e.g. driver = 'asyncpg'."
    if "No module named 'alembic'" in message or "No module named 'sqlalchemy'" in message:
        return f"{settings.interpreter} has no Alembic: name the project's own interpreter (python)."
    return ""
