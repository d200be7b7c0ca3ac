"""add a key to what was there

Revision ID: a1
"""

from alembic import op

revision = "a1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE legacy ADD PRIMARY KEY (id)")


def downgrade() -> None:
    op.execute("ALTER TABLE legacy DROP CONSTRAINT legacy_pkey")
    op.execute("ALTER TABLE legacy ALTER id DROP NOT NULL")
