"""merge

Revision ID: z1
"""

revision = "z1"
down_revision = ("m2", "n2")
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
