"""change a few more

Revision ID: a3
"""

from alembic import op

revision = "a3"
down_revision = "a2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TEMP TABLE few ON COMMIT DROP AS SELECT id FROM accounts WHERE id <= 7")
    op.execute("INSERT INTO few SELECT -id FROM few")
    op.execute("UPDATE accounts SET name = name || '!' WHERE id IN (SELECT id FROM few)")


def downgrade() -> None:
    op.execute("UPDATE accounts SET name = rtrim(name, '!') WHERE id <= 7")
