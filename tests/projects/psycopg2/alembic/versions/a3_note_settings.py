"""note the settings of the migration's session

Revision ID: a3
"""

import sqlalchemy as sa
from alembic import op

revision = "a3"
down_revision = "a2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("seen", sa.Column("name", sa.Text), sa.Column("value", sa.Text))
    for name in ("lock_timeout", "statement_timeout", "application_name"):
        op.execute(f"INSERT INTO seen VALUES ('{name}', current_setting('{name}'))")


def downgrade() -> None:
    op.drop_table("seen")
