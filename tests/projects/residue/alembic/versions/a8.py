"""rows

Revision ID: a8
"""

from alembic import op

revision = "a8"
down_revision = "a7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("INSERT INTO items (id, price, name) VALUES (100, 1, 'gift') ON CONFLICT DO NOTHING")


def downgrade() -> None:
    op.execute("SELECT 1")
