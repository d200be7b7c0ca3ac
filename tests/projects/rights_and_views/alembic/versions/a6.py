"""count changes, and leave the function

Revision ID: a6
"""

from alembic import op

revision = "a6"
down_revision = "a5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE OR REPLACE FUNCTION count_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.changed := OLD.changed + 1; RETURN NEW; END; $$"
    )
    op.execute(
        "CREATE TRIGGER count_change BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION count_change()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER count_change ON notes")
