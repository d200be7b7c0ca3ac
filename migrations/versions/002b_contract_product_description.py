"""contract products.description to description_new

The second half: nobody uses the old column any more. It is put out of the application's sight, with all that
is in it, until somebody drops it (``lockkeeper rename drop``). The way back brings it in step with the writes
since.

Revision ID: 002b
Revises: 002
"""

# lockkeeper: allow rename-in-one-go because the demo has no application that names the old column

from __future__ import annotations

from alembic import op

import lockkeeper.ops  # noqa: F401 - registers op's online operations

revision = "002b"
down_revision = "002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.contract_rename_online("products", "description", "description_new")


def downgrade() -> None:
    op.undo_contract_online("products", "description", "description_new")
