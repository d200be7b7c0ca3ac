"""count notes by owner

Revision ID: a4
"""

from alembic import op

revision = "a4"
down_revision = "a3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE MATERIALIZED VIEW note_counts AS SELECT owner, count(*) AS notes FROM notes GROUP BY owner"
    )
    op.execute("CREATE UNIQUE INDEX note_counts_owner ON note_counts (owner)")
    op.execute("CREATE VIEW busy AS SELECT owner FROM note_counts WHERE notes > 1")


def downgrade() -> None:
    op.execute("DROP VIEW busy")
    op.execute("DROP MATERIALIZED VIEW note_counts")
