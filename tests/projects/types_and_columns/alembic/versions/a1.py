"""create readings

Revision ID: a1
"""

from alembic import op

revision = "a1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TYPE mood AS ENUM ('fine', 'bad')")
    op.execute(
        "CREATE TABLE readings (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mood mood NOT NULL, "
        "celsius numeric(6, 2) NOT NULL, tags text[] NOT NULL DEFAULT '{}', during tstzrange, serial_no int)"
    )


def downgrade() -> None:
    op.execute("DROP TABLE readings")
    op.execute("DROP TYPE mood")
