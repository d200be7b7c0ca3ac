"""The shop as the application sees it at the newest revision: what the database is compared with."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

users = Table(
    "users",
    metadata,
    Column("id", BigInteger, Identity(always=False), primary_key=True),
    Column("email", String(254), nullable=False),
    Column("full_name", Text, nullable=False),
    Column("country", String(2), nullable=False),
    Column("credit_cents", BigInteger, nullable=False, server_default=text("0")),
    Column("settings", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("last_login_at", DateTime(timezone=True)),
    Column("status", String(20), nullable=False, server_default=text("'active'")),
    UniqueConstraint("email", name="users_email_key"),
    CheckConstraint("status IN ('active', 'inactive', 'suspended')", name="users_status_allowed"),
    Index("idx_users_status", "status"),
)

products = Table(
    "products",
    metadata,
    Column("id", BigInteger, Identity(always=False), primary_key=True),
    Column("sku", String(32), nullable=False),
    Column("name", Text, nullable=False),
    Column("price_cents", Integer, nullable=False),
    Column("stock", Integer, nullable=False, server_default=text("0")),
    Column("tags", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("description_new", Text, nullable=False),
    UniqueConstraint("sku", name="products_sku_key"),
    CheckConstraint("price_cents >= 0", name="products_price_cents_check"),
)
