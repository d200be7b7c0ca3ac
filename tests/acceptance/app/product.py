"""One table, as three versions of the application see it.

``OldProduct`` knows ``description`` alone. ``Product`` is deployed for the rename: it writes both columns and
reads the one that the flag says. ``NewestProduct``, deployed before the old column goes, knows
``description_new`` alone. All three run at the same time; the database's triggers keep the columns in step
whoever writes.
"""

from __future__ import annotations

from typing import Any

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from sqlalchemy import BigInteger, Identity, Integer, Text, event, inspect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, validates

from lockkeeper.flags.provider import TableFlagProvider

FLAG = "use-new-description"


class _Columns:
    """What no version disputes. ``stock`` counts the writes to a row: it orders them for the journal."""

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    sku: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    price_cents: Mapped[int] = mapped_column(Integer)
    stock: Mapped[int] = mapped_column(Integer)


class OldBase(DeclarativeBase):
    """The models of the old version."""


class OldProduct(_Columns, OldBase):
    """A product before anybody thought of a rename."""

    __tablename__ = "products"
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012 (SQLAlchemy's own way)
    description: Mapped[str] = mapped_column(Text)

    @property
    def active_description(self) -> str:
        return self.description


class NewBase(DeclarativeBase):
    """The models of the version that is deployed for the rename."""


class Product(_Columns, NewBase):
    """A product that writes both columns and reads the one that the flag says."""

    __tablename__ = "products"
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012
    old_description: Mapped[str] = mapped_column("description", Text)
    new_description: Mapped[str | None] = mapped_column("description_new", Text)

    def __init__(self, description: str, **columns: Any) -> None:
        super().__init__(**columns)
        self.description = description

    @property
    def active_description(self) -> str | None:
        """The description, from the column that the flag says for this product."""
        context = EvaluationContext(str(self.id))
        new = api.get_client().get_boolean_value(FLAG, False, context)
        return self.new_description if new else self.old_description

    @property
    def description(self) -> str | None:
        return self.active_description

    @description.setter
    def description(self, text: str) -> None:
        self.old_description = text
        self.new_description = text

    @validates("old_description", "new_description")
    def _is_text(self, _name: str, text: str) -> str:
        if not isinstance(text, str) or not text.strip():
            raise ValueError("a product needs a description")
        return text


@event.listens_for(Product, "before_insert")
@event.listens_for(Product, "before_update")
def _refuse_half_a_write(_mapper: Any, _connection: Any, product: Product) -> None:
    """Refuse a write of one column without the other; rows that the backfill has not reached may differ."""
    attributes = inspect(product).attrs
    written = [attributes[name].history.has_changes() for name in ("old_description", "new_description")]
    if any(written) and product.old_description != product.new_description:
        raise ValueError("description and description_new are written together, with one value")


class NewestBase(DeclarativeBase):
    """The models of the version that has forgotten the old column."""


class NewestProduct(_Columns, NewestBase):
    """A product after the rename."""

    __tablename__ = "products"
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012
    description: Mapped[str] = mapped_column("description_new", Text)

    @property
    def active_description(self) -> str:
        return self.description


def use_flags_of(engine: Any) -> None:
    """Let this process read its flags from the engine's database."""
    api.set_provider_and_wait(TableFlagProvider(engine.raw_connection))
