"""drop the street

Revision ID: a4
"""

import sqlalchemy as sa
from alembic import op

revision = "a4"
down_revision = "a3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("Kunden", "Straße", schema="Verkauf")


def downgrade() -> None:
    op.add_column("Kunden", sa.Column("Straße", sa.Text), schema="Verkauf")
    op.create_index("kunden nach Straße", "Kunden", ["Straße", "select"], schema="Verkauf")
