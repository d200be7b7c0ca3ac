"""a domain that stays behind

Revision ID: a7
"""

from alembic import op

revision = "a7"
down_revision = "a6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE DOMAIN tag AS text CHECK (VALUE <> '')")
    op.execute("ALTER TABLE readings ADD main_tag tag")


def downgrade() -> None:
    op.drop_column("readings", "main_tag")
