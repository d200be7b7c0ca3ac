"""an index of another name

Revision ID: a2
"""

from alembic import op

revision = "a2"
down_revision = "a1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("items_price", "items", ["price"])
    op.create_index("items_name", "items", ["name"])


def downgrade() -> None:
    op.drop_index("items_price")
