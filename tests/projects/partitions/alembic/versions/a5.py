"""index the ids, and forget a partition

Revision ID: a5
"""

from alembic import op

revision = "a5"
down_revision = "a4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX events_id ON ONLY events (id)")
    op.execute("CREATE INDEX events_2026_id ON events_2026 (id)")
    op.execute("ALTER INDEX events_id ATTACH PARTITION events_2026_id")


def downgrade() -> None:
    op.execute("DROP INDEX events_id")
