"""Roles that may log in and no more: what a careful team migrates with."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

from sqlalchemy.engine import URL

from tests.integration.planting import run

PASSWORD = "canary-plain"


@contextlib.contextmanager
def plain_owner(url: URL) -> Iterator[URL]:
    """Give a database to a new plain role for the block; yields the URL with that role."""
    role = f"plain_{uuid.uuid4().hex[:8]}"
    run(
        url,
        f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'",
        f"ALTER DATABASE {url.database} OWNER TO {role}",
    )
    try:
        yield url.set(username=role, password=PASSWORD)
    finally:
        run(url, f"REASSIGN OWNED BY {role} TO postgres", f"DROP OWNED BY {role}", f"DROP ROLE {role}")
