"""its downgrade waits in a second session for what the first has locked

Revision ID: a4
"""

import sqlalchemy as sa
from alembic import op

revision = "a4"
down_revision = "a3"


def upgrade() -> None:
    op.add_column("accounts", sa.Column("phone", sa.Text))


def downgrade() -> None:
    op.drop_column("accounts", "phone")
    with sa.create_engine(op.get_bind().engine.url).begin() as second:
        second.execute(sa.text("UPDATE accounts SET name = '' WHERE name IS NULL"))
