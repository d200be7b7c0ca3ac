"""forget the objects of every second document

Revision ID: a5
"""

from alembic import op

revision = "a5"
down_revision = "a4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SELECT lo_unlink(content) FROM documents WHERE id % 2 = 0")
    op.execute("UPDATE documents SET content = NULL WHERE id % 2 = 0")


def downgrade() -> None:
    op.execute("UPDATE documents SET content = lo_create(0) WHERE id % 2 = 0")
