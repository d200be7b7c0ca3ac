"""a schema whose name is a sentence

Revision ID: a5
"""

from alembic import op

revision = "a5"
down_revision = "a4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""CREATE SCHEMA "it's "";DROP" """)
    op.execute("""CREATE TABLE "it's "";DROP"."100 %s: done" ("a.b" int PRIMARY KEY)""")


def downgrade() -> None:
    op.execute("""DROP TABLE "it's "";DROP"."100 %s: done" """)
