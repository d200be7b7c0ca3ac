"""move the contents into the table, and back to the same objects

Revision ID: a2
"""

from alembic import op

revision = "a2"
down_revision = "a1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE documents ADD body bytea")
    op.execute("UPDATE documents SET body = lo_get(content)")
    op.execute("SELECT lo_unlink(content) FROM documents")


def downgrade() -> None:
    op.execute("SELECT lo_from_bytea(content, body) FROM documents")
    op.execute("ALTER TABLE documents DROP body")
