"""add 2026, its rows moved from the default partition

Revision ID: a2
"""

from alembic import op

revision = "a2"
down_revision = "a1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE events DETACH PARTITION events_other")
    op.execute(
        "CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')"
    )
    op.execute("INSERT INTO events SELECT * FROM events_other WHERE at >= '2026-01-01' AND at < '2027-01-01'")
    op.execute("DELETE FROM events_other WHERE at >= '2026-01-01' AND at < '2027-01-01'")
    op.execute("ALTER TABLE events ATTACH PARTITION events_other DEFAULT")


def downgrade() -> None:
    op.execute("ALTER TABLE events DETACH PARTITION events_2026")
    op.execute("INSERT INTO events SELECT * FROM events_2026")
    op.execute("DROP TABLE events_2026")
