"""a range that is split

Revision ID: a8
"""

from alembic import op

revision = "a8"
down_revision = "a7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE readings ADD started timestamptz, ADD ended timestamptz")
    op.execute("UPDATE readings SET started = lower(during), ended = upper(during)")
    op.drop_column("readings", "during")


def downgrade() -> None:
    op.execute("ALTER TABLE readings ADD during tstzrange")
    op.execute("UPDATE readings SET during = tstzrange(started, ended, '[)') WHERE started IS NOT NULL")
    op.execute("ALTER TABLE readings DROP started, DROP ended")
