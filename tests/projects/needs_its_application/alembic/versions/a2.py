"""keep notes

Revision ID: a2
"""

import application
import sqlalchemy as sa
from alembic import op

revision = "a2"
down_revision = "a1"

metadata = sa.MetaData()
NAME = application.names()[1]


def _notes() -> sa.Table:
    return sa.Table(NAME, metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.Text))


def upgrade() -> None:
    _notes().create(op.get_bind())


def downgrade() -> None:
    _notes().drop(op.get_bind())
