"""change some

Revision ID: a2
"""

from alembic import op

revision = "a2"
down_revision = "a1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE accounts SET name = upper(name) WHERE id <= 300")
    op.execute("DELETE FROM accounts WHERE id > 990")


def downgrade() -> None:
    op.execute("UPDATE accounts SET name = lower(name) WHERE id <= 300")
