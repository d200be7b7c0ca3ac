"""statistics

Revision ID: a7
"""

from alembic import op

revision = "a7"
down_revision = "a6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE STATISTICS IF NOT EXISTS item_stats ON price, name FROM items")


def downgrade() -> None:
    op.execute("SELECT 1")
