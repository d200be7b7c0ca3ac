"""let everybody see their own notes

Revision ID: a2
"""

from alembic import op

revision = "a2"
down_revision = "a1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE notes ENABLE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY own_notes ON notes USING (owner = current_user)")


def downgrade() -> None:
    op.execute("DROP POLICY own_notes ON notes")
    op.execute("ALTER TABLE notes DISABLE ROW LEVEL SECURITY")
