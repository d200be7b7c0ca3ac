"""index the notes, each partition first

Revision ID: a4
"""

from alembic import op

revision = "a4"
down_revision = "a3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX events_note ON ONLY events (note)")
    for partition in ("events_2026", "events_other"):
        op.execute(f"CREATE INDEX {partition}_note ON {partition} (note)")
        op.execute(f"ALTER INDEX events_note ATTACH PARTITION {partition}_note")


def downgrade() -> None:
    op.execute("DROP INDEX events_note")
