"""fail half-way

Revision ID: a2
"""

from alembic import op

revision = "a2"
down_revision = "a1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE accounts SET name = 'changed'")
    op.execute("INSERT INTO nowhere VALUES (1)")


def downgrade() -> None:
    op.execute("SELECT 1")
