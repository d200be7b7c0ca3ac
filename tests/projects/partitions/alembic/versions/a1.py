"""create events by year

Revision ID: a1
"""

from alembic import op

revision = "a1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE TABLE events (id int, at date NOT NULL, note text, PRIMARY KEY (id, at)) "
        "PARTITION BY RANGE (at)"
    )
    op.execute(
        "CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')"
    )
    op.execute("CREATE TABLE events_other PARTITION OF events DEFAULT")


def downgrade() -> None:
    op.drop_table("events")
