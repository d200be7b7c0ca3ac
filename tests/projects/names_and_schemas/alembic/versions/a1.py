"""create the customers

Revision ID: a1
"""

import sqlalchemy as sa
from alembic import op

revision = "a1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute('CREATE SCHEMA "Verkauf"')
    op.execute("""CREATE TYPE "Verkauf"."Größe" AS ENUM ('klein', 'Groß')""")
    op.create_table(
        "Kunden",
        sa.Column("Id", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("Straße", sa.Text),
        sa.Column("select", sa.Integer),
        schema="Verkauf",
    )


def downgrade() -> None:
    op.drop_table("Kunden", schema="Verkauf")
    op.execute('DROP SCHEMA "Verkauf" CASCADE')
