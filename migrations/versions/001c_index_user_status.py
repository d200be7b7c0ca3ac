"""index users.status

Alone in its revision: CONCURRENTLY needs autocommit, and entering autocommit commits whatever came before it.
A CREATE INDEX CONCURRENTLY that was interrupted leaves an invalid index of that name: it is dropped first, so
the revision can be run again.

Revision ID: 001c
Revises: 001b
"""

from __future__ import annotations

from alembic import op

revision = "001c"
down_revision = "001b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS idx_users_status")
        op.create_index("idx_users_status", "users", ["status"], postgresql_concurrently=True)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS idx_users_status")
