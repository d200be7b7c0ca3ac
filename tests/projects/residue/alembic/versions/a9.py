"""another type, and not back

Revision ID: a9
"""

import sqlalchemy as sa
from alembic import op

revision = "a9"
down_revision = "a8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("items", "price", type_=sa.BigInteger)


def downgrade() -> None:
    op.execute("SELECT 1")
