"""compute fahrenheit

Revision ID: a5
"""

from alembic import op

revision = "a5"
down_revision = "a4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE readings ADD fahrenheit numeric GENERATED ALWAYS AS (celsius * 9 / 5 + 32) STORED"
    )


def downgrade() -> None:
    op.drop_column("readings", "fahrenheit")
