"""a comment

Revision ID: a6
"""

from alembic import op

revision = "a6"
down_revision = "a5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("COMMENT ON COLUMN items.price IS 'in cents'")


def downgrade() -> None:
    op.execute("SELECT 1")
