"""detach the default partition, and forget to attach it again

Revision ID: a6
"""

from alembic import op

revision = "a6"
down_revision = "a5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE events DETACH PARTITION events_other")


def downgrade() -> None:
    op.execute("SELECT 1")
