"""drop what nobody reads

Revision ID: a2
"""

from alembic import op

revision = "a2"
down_revision = "a1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("legacy", "fax")


def downgrade() -> None:
    raise NotImplementedError
