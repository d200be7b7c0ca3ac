"""index the street

Revision ID: a2
"""

from alembic import op

revision = "a2"
down_revision = "a1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("Kunden nach Straße", "Kunden", ["Straße", "select"], schema="Verkauf")


def downgrade() -> None:
    op.drop_index("Kunden nach Straße", "Kunden", schema="Verkauf")
