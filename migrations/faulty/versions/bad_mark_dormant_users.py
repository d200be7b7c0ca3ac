"""mark dormant users (wrong on purpose)

The application does not know the status 'dormant'. The revision commits without an error; the rule
``users_status_allowed`` finds the damage afterwards, and the downgrade takes it back exactly.

Revision ID: bad
Revises: 002b
"""

from __future__ import annotations

from alembic import op

revision = "bad"
down_revision = "002b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_constraint("users_status_allowed", "users", type_="check")
    op.execute(
        "UPDATE users SET status = 'dormant' "
        "WHERE status = 'active' AND last_login_at < created_at + interval '30 days'"
    )


def downgrade() -> None:
    op.execute("UPDATE users SET status = 'active' WHERE status = 'dormant'")
    op.create_check_constraint(
        "users_status_allowed", "users", "status IN ('active', 'inactive', 'suspended')"
    )
