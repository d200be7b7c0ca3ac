"""expand products.description to description_new

The first half of a rename without downtime: the database writes both columns, whichever the application
writes, and the old rows are filled in short batches. The application goes over to the new column between this
revision and the next one.

Revision ID: 002
Revises: 001c
"""

from __future__ import annotations

from alembic import op

import lockkeeper.ops  # noqa: F401 - registers op's online operations

revision = "002"
down_revision = "001c"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.expand_rename_online("products", "description", "description_new")


def downgrade() -> None:
    op.abort_rename_online("products", "description", "description_new")
