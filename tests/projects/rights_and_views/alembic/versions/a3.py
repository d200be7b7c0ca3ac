"""hold the owner to it, too, with no way back

Revision ID: a3
"""

from alembic import op

revision = "a3"
down_revision = "a2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE notes FORCE ROW LEVEL SECURITY")
    op.execute("ALTER POLICY own_notes ON notes USING (owner = session_user)")


def downgrade() -> None:
    op.execute("ALTER TABLE notes NO FORCE ROW LEVEL SECURITY")
