"""count what is not empty, and lose the view above it

Revision ID: a5
"""

from alembic import op

revision = "a5"
down_revision = "a4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP MATERIALIZED VIEW note_counts CASCADE")
    op.execute(
        "CREATE MATERIALIZED VIEW note_counts AS SELECT owner, count(body) AS notes FROM notes GROUP BY owner"
    )


def downgrade() -> None:
    op.execute("DROP MATERIALIZED VIEW note_counts")
    op.execute(
        "CREATE MATERIALIZED VIEW note_counts AS SELECT owner, count(*) AS notes FROM notes GROUP BY owner"
    )
    op.execute("CREATE UNIQUE INDEX note_counts_owner ON note_counts (owner)")
