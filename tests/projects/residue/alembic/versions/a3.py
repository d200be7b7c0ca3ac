"""a default and its sequence

Revision ID: a3
"""

from alembic import op

revision = "a3"
down_revision = "a2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SEQUENCE IF NOT EXISTS item_numbers")
    op.execute("ALTER TABLE items ALTER price SET DEFAULT nextval('item_numbers')")


def downgrade() -> None:
    op.execute("ALTER TABLE items ALTER price DROP DEFAULT")
