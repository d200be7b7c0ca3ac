"""a table of its own, with all that belongs to it

Revision ID: a5
"""

from alembic import op

revision = "a5"
down_revision = "a4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE tags (id serial PRIMARY KEY, item_id int REFERENCES items, name text UNIQUE)")
    op.execute("COMMENT ON TABLE tags IS 'labels'")


def downgrade() -> None:
    op.drop_table("tags")
