"""create notes

Revision ID: a1
"""

from alembic import op

revision = "a1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE TABLE notes (id int PRIMARY KEY, owner text NOT NULL, body text, changed int DEFAULT 0)"
    )


def downgrade() -> None:
    op.drop_table("notes")
