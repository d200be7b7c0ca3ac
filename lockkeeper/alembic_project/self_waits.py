"""Notices that a migration waits for itself: one of its sessions for a lock that another one of it holds."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from lockkeeper.errors import DatabaseError
from lockkeeper.measured import SelfWait
from lockkeeper.postgres.connection import Connection, fetch_all, named_query
from lockkeeper.redaction import redact

PACKAGE = "lockkeeper.alembic_project"
LOADING = "loading the project"
SHOWN_CHARACTERS = 160
_UPGRADE, _DOWNGRADE = "the upgrade of", "the downgrade of"


class SelfWaits:
    """Looks for waits of one process for itself.

    Args:
        name: the sessions' ``application_name``.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._opened: dict[str, tuple[int, str]] = {}
        self._request, self._label = 0, LOADING
        self._seen: tuple[str, SelfWait] | None = None

    def begin(self, request: dict[str, Any]) -> None:
        """Note that a request begins."""
        self._request += 1
        self._label = _label(request)
        self._seen = None

    def begins(self, revision: str) -> None:
        """Note that the next one of several revisions begins, within the present request."""
        self._request += 1
        self._label = f"{_UPGRADE} {revision}"
        self._seen = None

    def opened(self, backend: str) -> None:
        """Note that the present request has opened a session, known as ``pid@start``."""
        self._opened[backend] = self._request, self._label

    def look(self, connection: Connection) -> None:
        """Ask the server once; a server that does not answer is asked again at the next look."""
        values = {"name": self._name, "backends": list(self._opened)}
        with contextlib.suppress(DatabaseError):
            for row in fetch_all(connection, named_query("own_waits", PACKAGE), values):
                self._seen = row[4], self._wait(*row)

    def told(self, last_statements: Mapping[str, str]) -> SelfWait | None:
        """Return what was seen last in the present request.

        Args:
            last_statements: session -> what the project has sent last there; the server knows only the last
                statement at all, which may be a question of ours.
        """
        if self._seen is None:
            return None
        holder, wait = self._seen
        statement = last_statements.get(holder)
        return wait.model_copy(update={"holder_statement": _shown(statement)}) if statement else wait

    def _wait(
        self,
        waiter: int,
        waiting: str,
        wanted: str,
        holder: int,
        backend: str,
        state: str,
        held_by: str,
        unsaved: bool,
    ) -> SelfWait:
        request, label = self._opened.get(backend, (self._request, self._label))
        return SelfWait(
            waiter=waiter,
            waiting_statement=_shown(waiting),
            wanted=wanted,
            holder=holder,
            holder_state=state,
            holder_statement=_shown(held_by),
            opened_by=label,
            leftover=request < self._request,
            unsaved=unsaved,
            after_downgrade=label.startswith(_DOWNGRADE),
        )


def _label(request: dict[str, Any]) -> str:
    if request["op"] != "step":
        return "its env.py"
    return f"{_DOWNGRADE if request['downgrade'] else _UPGRADE} {request['revision']}"


def _shown(statement: str) -> str:
    text = redact(" ".join(statement.split()))
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."
