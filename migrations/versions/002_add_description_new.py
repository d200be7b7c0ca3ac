"""add products.description_new, kept in step with description

The first stage of a rename without downtime. The database writes both columns, whichever the application
writes: the old version, the new one, psql and bulk updates alike. Its names are qualified, since pg_restore
runs with an empty search_path.

Revision ID: 002
Revises: 001c
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "002"
down_revision = "001c"
branch_labels = None
depends_on = None

FUNCTION = """
CREATE FUNCTION public.products_sync_description() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.description_new := COALESCE(NEW.description_new, NEW.description);
        NEW.description := COALESCE(NEW.description, NEW.description_new);
    ELSIF NEW.description IS DISTINCT FROM OLD.description
        AND NEW.description_new IS NOT DISTINCT FROM OLD.description_new THEN
        NEW.description_new := NEW.description;
    ELSIF NEW.description_new IS DISTINCT FROM OLD.description_new
        AND NEW.description IS NOT DISTINCT FROM OLD.description THEN
        NEW.description := NEW.description_new;
    END IF;
    RETURN NEW;
END;
$$
"""

TRIGGER = """
CREATE TRIGGER products_sync_description
BEFORE INSERT OR UPDATE OF description, description_new ON products
FOR EACH ROW EXECUTE FUNCTION public.products_sync_description()
"""


def upgrade() -> None:
    op.add_column("products", sa.Column("description_new", sa.Text, nullable=True))
    op.execute(FUNCTION)
    op.execute(TRIGGER)


def downgrade() -> None:
    op.execute("DROP TRIGGER products_sync_description ON products")
    op.execute("DROP FUNCTION public.products_sync_description()")
    op.drop_column("products", "description_new")
