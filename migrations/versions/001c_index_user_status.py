"""index users.status

Built concurrently. An invalid index that an interrupted build left behind is dropped and built again, so the
revision can be run again.

Revision ID: 001c
Revises: 001b
"""

from __future__ import annotations

from alembic import op

import lockkeeper.ops  # noqa: F401 - op.create_index_online and its like

revision = "001c"
down_revision = "001b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index_online("idx_users_status", "users", ["status"])


def downgrade() -> None:
    op.drop_index_online("idx_users_status", "users")
