"""check users.status

NOT VALID at first: it holds for new rows from that moment, and nothing is read while the lock is held. Then
the rows that are there are checked beside readers and writers.

Revision ID: 001b
Revises: 001
"""

from __future__ import annotations

from alembic import op

import lockkeeper.ops  # noqa: F401 - op.add_check_online and its like

revision = "001b"
down_revision = "001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_check_online("users_status_allowed", "users", "status IN ('active', 'inactive', 'suspended')")


def downgrade() -> None:
    op.drop_constraint_online("users_status_allowed", "users", type_="check")
