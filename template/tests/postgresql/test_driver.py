"""Statements that asyncpg runs are no different from those that SQLAlchemy executes."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.settings import Settings
from app.db.database import Database, open_database
from app.db.driver import is_direct
from app.db.query import fetch_all, fetch_one
from app.db.types import Timestamp


class Colour(Enum):
    RED = "red"


things = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("colour", sa.Enum(Colour, native_enum=False)),
    sa.Column("price", sa.Numeric(10, 2)),
    sa.Column("size", sa.Float),
    sa.Column("data", sa.JSON),
    sa.Column("day", sa.Date),
    sa.Column("at", Timestamp),
    sa.Column("count", sa.Integer, sa.CheckConstraint("count > 0"), default=1, nullable=False),
    sa.Column("name", sa.String(8), unique=True),
)
ROW: dict[str, Any] = {
    "id": UUID(int=1),
    "colour": Colour.RED,
    "price": Decimal("1.50"),
    "size": 0.5,
    "data": {"a": [1, None]},
    "day": date(2026, 1, 31),
    "at": datetime(2026, 1, 31, 12, tzinfo=UTC),
    "count": 1,
    "name": "x",
}
INSERT = sa.insert(things).returning(things)
SELECT = sa.select(things).where(things.c.colour == sa.bindparam("wanted"))


@pytest.fixture
async def database(postgresql_url: str | None, real_database_url: str) -> AsyncIterator[Database]:
    if postgresql_url is None:
        pytest.skip("needs --database=postgresql")
    async with open_database(Settings(database_url=real_database_url)) as database:
        async with database.transaction() as connection:
            await connection.run_sync(things.metadata.create_all)
        yield database


async def names(database: Database) -> list[str]:
    async with database.reading() as connection:
        return list((await connection.scalars(sa.select(things.c.name))).all())


async def test_values_and_rows_have_the_types_of_their_columns(database: Database) -> None:
    without_default = {name: value for name, value in ROW.items() if name != "count"}
    async with database.transaction() as connection:
        assert is_direct(connection)
        assert await fetch_one(connection, INSERT, **without_default) == ROW

    async with database.reading() as connection:
        assert is_direct(connection)
        found = await fetch_all(connection, SELECT, wanted=Colour.RED)
        executed = (await connection.execute(SELECT, {"wanted": Colour.RED})).mappings().all()

    assert found == [ROW]
    assert found == [dict(row) for row in executed]


@pytest.mark.parametrize(
    "values",
    [
        {"id": UUID(int=2), "name": "x"},
        {"id": UUID(int=2), "count": 0},
        {"id": UUID(int=2), "count": None},
        {"id": UUID(int=2), "name": "too long a name"},
        {"id": UUID(int=2), "count": 2**40},
        {"id": UUID(int=2), "name": "\0"},
        {"id": UUID(int=2), "colour": "no colour"},
        {"id": "no id"},
    ],
)
async def test_errors_are_those_of_sqlalchemy(database: Database, values: dict[str, Any]) -> None:
    async with database.transaction() as connection:
        await fetch_one(connection, INSERT, **ROW)

    async with database.transaction() as connection:
        with pytest.raises(StatementError) as driver:
            await fetch_one(connection, INSERT, **values)
    async with database.transaction() as connection:
        with pytest.raises(StatementError) as sqlalchemy:
            await connection.execute(INSERT, values)

    assert type(driver.value) is type(sqlalchemy.value)
    assert getattr(driver.value.orig, "sqlstate", "") == getattr(
        sqlalchemy.value.orig, "sqlstate", ""
    )


async def test_value_that_is_missing_is_a_fault_of_the_statement(database: Database) -> None:
    async with database.reading() as connection:
        with pytest.raises(StatementError) as error:
            await fetch_all(connection, SELECT)

    assert isinstance(error.value.orig, InvalidRequestError)


async def test_error_rolls_back_what_the_driver_wrote(database: Database) -> None:
    async def write_and_fail() -> None:
        async with database.transaction() as connection:
            await fetch_one(connection, INSERT, **ROW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await write_and_fail()

    assert await names(database) == []


async def test_savepoint_rolls_back_what_the_driver_wrote(database: Database) -> None:
    async with database.transaction() as connection:
        await fetch_one(connection, INSERT, **ROW)
        with pytest.raises(IntegrityError):
            async with connection.begin_nested():
                await fetch_one(connection, INSERT, id=UUID(int=2), name="x")
        await fetch_one(connection, INSERT, id=UUID(int=3), name="y")

    assert sorted(await names(database)) == ["x", "y"]


async def test_cancelled_statement_gives_up_its_connection(database: Database) -> None:
    sleep = sa.select(sa.func.pg_sleep(sa.bindparam("seconds", type_=sa.Float())))

    async def wait(connection: AsyncConnection) -> None:
        await fetch_all(connection, sleep, seconds=5.0)

    async with database.reading() as connection:
        waiting = asyncio.create_task(wait(connection))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert connection.invalidated

    assert await names(database) == []


async def test_reading_connection_refuses_what_the_driver_would_write(database: Database) -> None:
    async with database.reading() as connection:
        with pytest.raises(InvalidRequestError):
            await fetch_one(connection, INSERT, **ROW)

    assert await names(database) == []


async def test_lists_of_values_are_left_to_sqlalchemy(database: Database) -> None:
    async with database.transaction() as connection:
        await fetch_one(connection, INSERT, **ROW)
    among = sa.select(things.c.name).where(things.c.name.in_(sa.bindparam("among", expanding=True)))

    async with database.reading() as connection:
        assert await fetch_all(connection, among, among=["x", "y"]) == [{"name": "x"}]


async def test_fault_of_the_statement_hides_values(database: Database) -> None:
    statement = sa.select(sa.text("missing")).where(sa.literal_column("1") == sa.bindparam("p"))

    async with database.reading() as connection:
        with pytest.raises(DBAPIError) as error:
            await fetch_all(connection, statement, p="hunter2")

    assert "hunter2" not in str(error.value)
