"""add the size, and a function that reads it

Revision ID: a3
"""

from alembic import op

revision = "a3"
down_revision = "a2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute('ALTER TABLE "Verkauf"."Kunden" ADD "размер" "Verkauf"."Größe"')
    op.execute(
        'CREATE FUNCTION "Verkauf"."Größe von"("Id" int) RETURNS "Verkauf"."Größe" LANGUAGE sql STABLE '
        """AS 'SELECT "размер" FROM "Verkauf"."Kunden" AS k WHERE k."Id" = $1'"""
    )


def downgrade() -> None:
    op.execute('DROP FUNCTION "Verkauf"."Größe von"(int)')
    op.execute('ALTER TABLE "Verkauf"."Kunden" DROP "размер"')
