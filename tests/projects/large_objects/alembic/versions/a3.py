"""drop the contents that are empty

Revision ID: a3
"""

from alembic import op

revision = "a3"
down_revision = "a2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SELECT lo_from_bytea(content, body) FROM documents")
    op.execute("ALTER TABLE documents DROP body")


def downgrade() -> None:
    op.execute("ALTER TABLE documents ADD body bytea")
    op.execute("UPDATE documents SET body = lo_get(content)")
    op.execute("SELECT lo_unlink(content) FROM documents")
