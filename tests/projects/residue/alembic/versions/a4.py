"""a constraint that is not valid

Revision ID: a4
"""

from alembic import op

revision = "a4"
down_revision = "a3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE items DROP CONSTRAINT IF EXISTS price_positive")
    op.execute("ALTER TABLE items ADD CONSTRAINT price_positive CHECK (price > 0) NOT VALID")
    op.execute("ALTER TABLE items VALIDATE CONSTRAINT price_positive")


def downgrade() -> None:
    op.execute("ALTER TABLE items DROP CONSTRAINT price_positive")
    op.execute("ALTER TABLE items ADD CONSTRAINT price_positive CHECK (price > 0) NOT VALID")
