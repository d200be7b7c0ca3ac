"""drop 2025, with everything that happened in it

Revision ID: a3
"""

from alembic import op

revision = "a3"
down_revision = "a2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP TABLE events_2025")


def downgrade() -> None:
    op.execute(
        "CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')"
    )
