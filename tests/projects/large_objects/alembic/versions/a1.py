"""create documents

Revision ID: a1
"""

from alembic import op

revision = "a1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE documents (id int PRIMARY KEY, content oid)")


def downgrade() -> None:
    op.drop_table("documents")
