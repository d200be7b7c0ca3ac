"""read the accounts in a session of its own, and forget to end it

Revision ID: a2
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "a2"
down_revision = "a1"

_sessions: list[Any] = []


def upgrade() -> None:
    session = sa.create_engine(op.get_bind().engine.url).connect()
    session.execute(sa.text("SELECT count(*) FROM accounts"))
    _sessions.append(session)


def downgrade() -> None:
    pass
