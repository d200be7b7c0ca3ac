"""change a few more

Revision ID: a3
"""

from alembic import op

revision = "a3"
down_revision = "a2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE accounts SET name = name || '!' WHERE id <= 7")


def downgrade() -> None:
    op.execute("UPDATE accounts SET name = rtrim(name, '!') WHERE id <= 7")
