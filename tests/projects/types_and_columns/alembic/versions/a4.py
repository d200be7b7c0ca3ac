"""round the values

Revision ID: a4
"""

from alembic import op

revision = "a4"
down_revision = "a3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE readings ALTER celsius TYPE numeric(6, 0)")


def downgrade() -> None:
    op.execute("ALTER TABLE readings ALTER celsius TYPE numeric(6, 2)")
