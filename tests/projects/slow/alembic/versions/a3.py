"""write, then sleep

Revision ID: a3
"""

from alembic import op

revision = "a3"
down_revision = "a2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE accounts SET name = 'changed'")
    op.execute("SELECT pg_sleep(60)")


def downgrade() -> None:
    op.execute("SELECT 1")
