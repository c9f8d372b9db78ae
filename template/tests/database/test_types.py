"""Types of columns: the same values in every database."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlmodel import SQLModel

from app.core.settings import Settings
from app.db.database import Database
from app.db.engine import create_engine
from app.db.types import Choice, Json, Timestamp, fixed_point


class Status(StrEnum):
    DRAFT = "draft"
    ON_SALE = "on sale"


class Base(DeclarativeBase):
    metadata = sa.MetaData(naming_convention=SQLModel.metadata.naming_convention)


class Product(Base):
    __tablename__ = "products"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    status: Mapped[Status | None] = mapped_column(
        Choice(Status), default=Status.DRAFT, server_default=Status.DRAFT
    )
    former_status: Mapped[Status | None] = mapped_column(Choice(Status))
    price: Mapped[Decimal | None] = mapped_column(fixed_point(7, 2))
    sold_on: Mapped[date | None]
    sold_at: Mapped[datetime | None] = mapped_column(Timestamp)
    details: Mapped[Any] = mapped_column(Json, nullable=True)


@pytest.fixture
async def connection(real_database_url: str) -> AsyncIterator[AsyncConnection]:
    """A connection to a database with the table."""
    database = Database(create_engine(Settings(database_url=real_database_url)))
    async with database.transaction() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with database.transaction() as connection:
        yield connection
    await database.dispose()


async def stored(connection: AsyncConnection, name: str, value: object) -> object:
    """Return the value of the column after it has been in the database."""
    await connection.execute(sa.insert(Product).values({name: value}))
    return await connection.scalar(sa.select(Product.__table__.c[name]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", Status.ON_SALE),
        ("price", Decimal("0.10")),
        ("price", Decimal("-99999.99")),
        ("price", Decimal("12345.67")),
        ("sold_on", date(2026, 2, 28)),
        ("sold_at", datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=UTC)),
        ("details", {"colors": ["red", None], "weight": 1.5, "ünïcode": "✓"}),
        ("details", []),
        *((name, None) for name in ("status", "price", "sold_on", "sold_at", "details")),
    ],
)
async def test_value_comes_back_as_it_was(
    connection: AsyncConnection, name: str, value: object
) -> None:
    found = await stored(connection, name, value)

    assert found == value
    assert type(found) is type(value)


# ── Choices ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["status", "former_status"])
async def test_database_refuses_other_choices(connection: AsyncConnection, name: str) -> None:
    insert = sa.text(f"INSERT INTO products (id, {name}) VALUES ('{uuid4().hex}', 'sold')")  # noqa: S608

    with pytest.raises(IntegrityError, match=f"ck_products_{name}"):
        await connection.execute(insert)


async def test_choice_is_compared_by_value(connection: AsyncConnection) -> None:
    await connection.execute(sa.insert(Product))

    for value in (Status.DRAFT, "draft"):
        found = await connection.scalar(
            sa.select(sa.func.count()).where(Product.status.in_([value]), Product.status == value)
        )
        assert found == 1


def test_long_choice_makes_room_for_itself() -> None:
    class Long(StrEnum):
        VALUE = "x" * 50

    assert Choice(Long).impl_instance.length == 50  # type: ignore[attr-defined]
    assert Choice(Status).impl_instance.length == Choice.LENGTH  # type: ignore[attr-defined]


@pytest.mark.parametrize("table", SQLModel.metadata.sorted_tables, ids=str)
def test_choices_of_models_are_checked_by_the_database(table: sa.Table) -> None:
    checks = {check.name for check in table.constraints if isinstance(check, sa.CheckConstraint)}

    for column in table.columns:
        assert not isinstance(column.type, sa.Enum), (
            f"{column} is an enumeration of the database: it cannot lose a value, and SQLite has"
            f" none. Give the field sa_type=Choice(...)."
        )
        if isinstance(column.type, Choice):
            assert f"ck_{table.name}_{column.name}" in checks


# ── Decimals ─────────────────────────────────────────────────────────────────────────────────────


async def test_decimal_is_rounded_to_its_scale(connection: AsyncConnection) -> None:
    assert await stored(connection, "price", Decimal("1.005")) == Decimal("1.01")


async def test_decimals_are_added_and_sorted_as_numbers(connection: AsyncConnection) -> None:
    prices = [Decimal("9.10"), Decimal("10.05"), Decimal("-3.30")]
    await connection.execute(sa.insert(Product), [{"price": price} for price in prices])

    total = await connection.scalar(sa.select(sa.func.sum(Product.price)))
    found = await connection.scalars(sa.select(Product.price).order_by(Product.price))

    assert total == Decimal("15.85")
    assert list(found) == sorted(prices)


@pytest.mark.parametrize("price", ["100000", "99999.995", "Infinity"])
async def test_decimal_that_is_too_large_is_refused(
    connection: AsyncConnection, price: str
) -> None:
    with pytest.raises(StatementError):
        await stored(connection, "price", Decimal(price))


async def test_no_digit_of_a_decimal_is_lost(connection: AsyncConnection) -> None:
    value = Decimal("1234567890123456.78")
    statement = sa.select(sa.literal(value, fixed_point(18, 2)))

    try:
        found = await connection.scalar(statement)
    except StatementError as error:
        assert "more digits" in str(error.orig)  # noqa: PT017, a server keeps them all
    else:
        assert found == value


# ── Times ────────────────────────────────────────────────────────────────────────────────────────


async def test_time_is_kept_in_utc(connection: AsyncConnection) -> None:
    local = datetime(2026, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))

    found = await stored(connection, "sold_at", local)

    assert isinstance(found, datetime)
    assert found == local
    assert found.utcoffset() == timedelta(0)
