"""create and fill

Revision ID: a1
"""

import sqlalchemy as sa
from alembic import op

revision = "a1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("accounts", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text))
    op.create_table("audit", sa.Column("account_id", sa.Integer))
    op.execute(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO audit VALUES (NEW.id); RETURN NEW; END; $$"
    )
    op.execute("CREATE TRIGGER note AFTER UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION note()")
    op.execute("INSERT INTO accounts SELECT n, 'name ' || n FROM generate_series(1, 1000) AS n")


def downgrade() -> None:
    op.drop_table("audit")
    op.drop_table("accounts")
    op.execute("DROP FUNCTION note()")
