"""fill products.description_new

In batches by primary key, each its own short transaction: no row is locked for longer than one batch takes,
and run again it goes on with the rows that are still empty.

Revision ID: 002b
Revises: 002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "002b"
down_revision = "002"
branch_labels = None
depends_on = None

lockkeeper_leaves = {
    "public.products.description_new": "description still has every value, and 002 drops the copies",
}

BATCH_ROWS = 5_000
FILL = "UPDATE products SET description_new = description WHERE description_new IS NULL"


def upgrade() -> None:
    migration = op.get_context()
    with migration.autocommit_block():
        if migration.as_sql:
            op.execute(FILL)
            return
        connection = op.get_bind()
        last = connection.execute(sa.text("SELECT max(id) FROM products")).scalar() or 0
        batch = sa.text(f"{FILL} AND id > :after AND id <= :upto")
        for after in range(0, last, BATCH_ROWS):
            connection.execute(batch, {"after": after, "upto": after + BATCH_ROWS})


def downgrade() -> None:
    """Leave the copies: description still has every value, and revision 002 drops the column."""
    op.execute("SELECT 1")
