"""cut the contents to ten bytes

Revision ID: a4
"""

from alembic import op

revision = "a4"
down_revision = "a3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SELECT lo_truncate(lo_open(content, 131072), 10) FROM documents")


def downgrade() -> None:
    op.execute("SELECT 1")
