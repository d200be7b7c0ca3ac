"""add a mood, which cannot be taken back

Revision ID: a2
"""

from alembic import op

revision = "a2"
down_revision = "a1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE mood ADD VALUE IF NOT EXISTS 'unknown' AFTER 'fine'")


def downgrade() -> None:
    op.execute("UPDATE readings SET mood = 'bad' WHERE mood = 'unknown'")
