"""index the accounts if there are any

Revision ID: a2
"""

import sqlalchemy as sa
from alembic import op

revision = "a2"
down_revision = "a1"


def upgrade() -> None:
    # The engine opens a session of its own, which does not see what this transaction has made.
    if "accounts" in sa.inspect(op.get_bind().engine).get_table_names():
        op.create_index("ix_accounts_name", "accounts", ["name"])


def downgrade() -> None:
    op.drop_index("ix_accounts_name", "accounts")
