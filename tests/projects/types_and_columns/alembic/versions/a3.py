"""replace the enum, both ways

Revision ID: a3
"""

from alembic import op

revision = "a3"
down_revision = "a2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TYPE mood RENAME TO mood_before")
    op.execute("CREATE TYPE mood AS ENUM ('fine', 'unknown', 'bad', 'terrible')")
    op.execute("ALTER TABLE readings ALTER mood TYPE mood USING mood::text::mood")
    op.execute("DROP TYPE mood_before")


def downgrade() -> None:
    op.execute("ALTER TYPE mood RENAME TO mood_after")
    op.execute("CREATE TYPE mood AS ENUM ('fine', 'unknown', 'bad')")
    op.execute("ALTER TABLE readings ALTER mood TYPE mood USING mood::text::mood")
    op.execute("DROP TYPE mood_after")
