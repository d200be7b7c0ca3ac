"""write past the trigger, which stays off

Revision ID: a7
"""

from alembic import op

revision = "a7"
down_revision = "a6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE notes DISABLE TRIGGER count_change")
    op.execute("ALTER TABLE notes ADD title text")
    op.execute("UPDATE notes SET title = left(body, 10)")


def downgrade() -> None:
    op.execute("ALTER TABLE notes DROP title")
