"""The application that renames are proven with, and the journal that judges it, can be trusted themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from openfeature import api
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from lockkeeper.flags.provider import TableFlagProvider
from tests.acceptance.app.journal import Story
from tests.acceptance.app.product import NewBase, Product

COLUMNS = {"sku": "s", "name": "n", "price_cents": 1, "stock": 0}


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    NewBase.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


def columns_of(session: Session, key: int) -> tuple[str | None, str | None]:
    query = text("SELECT description, description_new FROM products WHERE id = :key")
    return tuple(session.execute(query, {"key": key}).one())


def test_the_model_writes_both_columns_with_one_value(session: Session) -> None:
    product = Product(id=1, description="first", **COLUMNS)
    session.add(product)
    session.flush()
    assert columns_of(session, 1) == ("first", "first")
    product.description = "second"
    session.flush()
    assert columns_of(session, 1) == ("second", "second")


def test_the_model_refuses_half_a_write_and_an_empty_one(session: Session) -> None:
    product = Product(id=1, description="first", **COLUMNS)
    session.add(product)
    session.flush()
    product.new_description = "only here"
    with pytest.raises(ValueError, match="written together"):
        session.flush()
    for wrong in ("", "  ", None):
        with pytest.raises(ValueError, match="needs a description"):
            product.description = wrong


def test_a_row_that_the_backfill_has_not_reached_can_be_changed_elsewhere(session: Session) -> None:
    session.add(Product(id=1, description="first", **COLUMNS))
    session.flush()
    session.execute(text("UPDATE products SET description_new = NULL"))
    session.expire_all()
    session.get(Product, 1).stock = 5
    session.flush()
    assert columns_of(session, 1) == ("first", None)


@pytest.mark.parametrize(("flag", "expected"), [("1", "new"), ("0", "old")])
def test_the_flag_says_which_column_is_read(flag: str, expected: str) -> None:
    def no_database() -> None:
        raise OSError

    product = Product(id=1, description="x", **COLUMNS)
    product.old_description, product.new_description = "old", "new"
    try:
        api.set_provider_and_wait(TableFlagProvider(no_database, environ={"USE_NEW_DESCRIPTION": flag}))
        assert product.active_description == expected
    finally:
        api.clear_providers()


def story(folder: Path, *lines: dict) -> Story:
    path = folder / "journal.jsonl"
    path.write_text("".join(json.dumps({"at": 1.0, "ms": 1.0, **line}) + "\n" for line in lines) + '{"torn')
    return Story.of([path])


def both(text: str) -> tuple[str, str]:
    return (text, text)


def test_the_journal_finds_what_was_lost_and_what_was_mixed_up(tmp_path: Path) -> None:
    told = story(
        tmp_path,
        {"op": "update", "id": 1, "stock": 2, "text": "1: second"},
        {"op": "update", "id": 1, "stock": 1, "text": "1: first"},
        {"op": "touch", "id": 1, "stock": 3},
        {"op": "insert", "id": 100, "stock": 0, "text": "100: made"},
        {"op": "bulk", "id": 2, "rows": [[2, 1, "2: in bulk"], [3, 1, "3: in bulk"]]},
        {"op": "insert", "id": 101, "stock": 0, "text": "101: made"},
        {"op": "delete", "id": 101},
    )
    good = {
        1: (3, both("1: second")),
        2: (1, both("2: in bulk")),
        3: (1, both("3: in bulk")),
        4: (0, both("4: as ever")),
        100: (0, both("100: made")),
    }
    assert told.problems(good, shared=4) == []
    for wrong in (
        {**good, 1: (2, both("1: second"))},
        {**good, 1: (4, both("1: second"))},
        {**good, 1: (3, both("1: first"))},
        {**good, 1: (3, ("1: second", "1: first"))},
        {**good, 2: (1, ("2: in bulk", None))},
        {**good, 4: (0, both("3: as ever"))},
        {**good, 101: (0, both("101: made"))},
        {key: row for key, row in good.items() if key != 100},
        {key: row for key, row in good.items() if key != 4},
    ):
        assert told.problems(wrong, shared=4) != []


def test_a_statement_without_an_answer_may_have_been_kept_or_not(tmp_path: Path) -> None:
    lost = {"error": "the server closed the connection"}
    told = story(
        tmp_path,
        {"op": "update", "id": 1, "stock": 1, "text": "1: first"},
        {"op": "update", "id": 1, "text": "1: perhaps", **lost},
        {"op": "insert", "id": 100, "text": "100: perhaps", **lost},
    )
    assert len(told.failed) == 2
    for kept in (
        {1: (1, both("1: first"))},
        {1: (2, both("1: perhaps")), 100: (0, both("100: perhaps"))},
    ):
        assert told.problems(kept, shared=1) == []
    assert told.problems({1: (2, both("1: neither"))}, shared=1) != []
