"""keep notes, in a table that only one move a process can define: the test goes on in a fresh one

Revision ID: a3
"""

import sqlalchemy as sa
from alembic import op

revision = "a3"
down_revision = "a2"

metadata = sa.MetaData()


def _notes() -> sa.Table:
    return sa.Table(
        "notes", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.Text)
    )


def upgrade() -> None:
    _notes().create(op.get_bind())


def downgrade() -> None:
    _notes().drop(op.get_bind())
