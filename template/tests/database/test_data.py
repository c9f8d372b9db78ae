"""The data path: statements, transactions, tables."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from httpx import AsyncClient
from pydantic import SecretStr, ValidationError
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlmodel import SQLModel

from app.api.database import Connection
from app.core.settings import Settings
from app.db.database import Database, orm_session
from app.db.engine import create_engine
from app.db.types import Timestamp, server_now
from app.main import create_app
from app.models import Item
from tests.support.clients import client_of

ITEMS = "/api/v1/items"
# Columns that the list of items is filtered or sorted by.
LISTED_BY = {"created_at", "updated_at", "title", "is_active"}


@pytest.fixture
async def database(real_database_url: str) -> AsyncIterator[Database]:
    """A database with several connections, and a table to leave marks in."""
    database = Database(create_engine(Settings(**database_settings(real_database_url))))
    async with database.transaction() as connection:
        await connection.run_sync(marks.metadata.create_all)
    yield database
    await database.dispose()


def database_settings(url: str) -> dict[str, Any]:
    return {"database_url": SecretStr(url)}


@pytest.fixture
async def real_app(real_database_url: str, settings: Settings) -> AsyncIterator[FastAPI]:
    """An application with several connections."""
    app = create_app(settings.model_copy(update=database_settings(real_database_url)))
    async with LifespanManager(app):
        yield app


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect what is sent to any database."""
    sent: list[str] = []

    def collect(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", collect)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", collect)


# ── Statements ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("query", [{}, {"q": "x", "created_after": "2001-01-01", "sort": "title"}])
async def test_list_takes_as_many_statements_for_one_item_as_for_many(
    client: AsyncClient, query: dict[str, str]
) -> None:
    counts = []
    for _ in range(2):
        await client.post(ITEMS, json={"title": "x"})
        await client.post(ITEMS, json={"title": "x"})
        with statements() as sent:
            assert (await client.get(ITEMS, params=query)).status_code == 200
        counts.append(sum("items" in statement for statement in sent))

    assert counts == [1, 1]


async def test_page_past_the_end_takes_one_statement_more(client: AsyncClient) -> None:
    with statements() as sent:
        await client.get(ITEMS, params={"skip": 10})

    assert sum("items" in statement for statement in sent) == 2


# ── Transactions ─────────────────────────────────────────────────────────────────────────────────

marks = sa.Table("marks", sa.MetaData(), sa.Column("name", sa.String, primary_key=True))
ADD_MARK = sa.insert(marks).values(name="mark")


async def has_mark(database: Database) -> bool:
    """Tell whether a connection of its own sees the mark."""
    async with database.reading() as connection:
        return bool(await connection.scalar(sa.select(sa.exists(sa.select(marks)))))


async def test_change_is_visible_elsewhere_when_the_response_begins(
    real_app: FastAPI, database: Database
) -> None:
    @real_app.post("/mark", status_code=201)
    async def mark(connection: Connection) -> None:
        await connection.execute(ADD_MARK)

    seen = []

    async def look_when_the_response_begins(scope: Any, receive: Any, send: Any) -> None:
        async def look(message: Any) -> None:
            if message["type"] == "http.response.start":
                seen.append(await has_mark(database))
            await send(message)

        await real_app(scope, receive, look)

    async with client_of(look_when_the_response_begins) as client:
        response = await client.post("/mark")

    assert response.status_code == 201
    assert seen == [True]


async def test_any_error_takes_everything_back(real_app: FastAPI, database: Database) -> None:
    @real_app.post("/mark")
    async def mark(connection: Connection) -> None:
        await connection.execute(ADD_MARK)
        raise RuntimeError

    async with client_of(real_app) as client:
        response = await client.post("/mark")

    assert response.status_code == 500
    assert not await has_mark(database)


async def test_rejected_statement_takes_everything_back(
    real_app: FastAPI, database: Database
) -> None:
    @real_app.post("/mark")
    async def mark(connection: Connection) -> None:
        await connection.execute(ADD_MARK)
        await connection.execute(ADD_MARK)

    async with client_of(real_app) as client:
        response = await client.post("/mark")

    assert response.status_code == 409
    assert not await has_mark(database)


async def test_commit_that_fails_is_told_to_the_client(
    real_app: FastAPI, database: Database
) -> None:
    @real_app.post("/mark", status_code=201)
    async def mark(connection: Connection) -> None:
        await connection.execute(ADD_MARK)

        def fail(_connection: object) -> None:
            raise RuntimeError

        event.listen(connection.sync_connection, "commit", fail)

    async with client_of(real_app) as client:
        response = await client.post("/mark")

    assert response.status_code == 500
    assert not await has_mark(database)


async def test_reading_connection_refuses_to_write(database: Database) -> None:
    async with database.reading() as connection:
        with pytest.raises(InvalidRequestError):
            await connection.execute(ADD_MARK)

    assert not await has_mark(database)


async def test_session_on_a_reading_connection_refuses_to_write(database: Database) -> None:
    async with database.reading() as connection:
        with pytest.raises(InvalidRequestError):
            async with orm_session(connection) as session:
                await session.execute(ADD_MARK)


async def test_safe_methods_are_given_a_reading_connection(
    real_app: FastAPI, database: Database
) -> None:
    @real_app.get("/mark")
    async def mark(connection: Connection) -> None:
        await connection.execute(ADD_MARK)

    async with client_of(real_app) as client:
        response = await client.get("/mark")

    assert response.status_code == 500
    assert not await has_mark(database)


async def test_connection_that_read_can_write_next(database: Database) -> None:
    assert not await has_mark(database)

    async with database.transaction() as connection:
        await connection.execute(ADD_MARK)
        assert not await has_mark(database)

    assert await has_mark(database)


async def test_database_that_cannot_be_opened_makes_no_other_fault(
    settings: Settings, tmp_path: Path
) -> None:
    threads = set(threading.enumerate())
    url = f"sqlite+aiosqlite:///{tmp_path}/missing/app.db"
    app = create_app(settings.model_copy(update=database_settings(url)))

    @app.get("/read")
    async def read(connection: Connection) -> None:
        """Never reached."""

    async with LifespanManager(app), client_of(app) as client:
        for path in ("/read", "/api/v1/ready"):
            response = await client.get(path)
            assert response.status_code == 503
            assert int(response.headers["Retry-After"]) > 0
        assert (await client.get("/api/v1/health")).status_code == 200
    await until_ended(set(threading.enumerate()) - threads)


async def until_ended(threads: set[threading.Thread]) -> None:
    """Wait for what aiosqlite does not: the threads of connections that it could not make."""
    for thread in threads:
        await asyncio.to_thread(thread.join, timeout=5)


async def test_pool_is_as_large_as_configured(real_database_url: str) -> None:
    settings = Settings(
        **database_settings(real_database_url),
        database_pool_size=3,
        database_max_overflow=2,
        database_pool_recycle=60,
        database_pool_timeout=0.5,
    )

    pool: Any = create_engine(settings).pool

    assert pool.size() == 3
    assert pool._max_overflow == 2  # noqa: SLF001
    assert pool._recycle == 60  # noqa: SLF001
    assert pool._timeout == 0.5  # noqa: SLF001
    assert pool._pre_ping  # noqa: SLF001


@pytest.mark.parametrize("figure", ["POOL_SIZE", "MAX_OVERFLOW", "POOL_RECYCLE", "POOL_TIMEOUT"])
@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_pool_without_sense_is_refused(
    monkeypatch: pytest.MonkeyPatch, figure: str, value: str
) -> None:
    monkeypatch.setenv(f"DATABASE_{figure}", value)

    with pytest.raises(ValidationError, match=f"database_{figure.lower()}"):
        Settings()


async def test_error_does_not_repeat_the_values_of_its_statement(database: Database) -> None:
    statement = sa.text("SELECT name FROM nothing WHERE name = :name")

    async with database.reading() as connection:
        with pytest.raises(DBAPIError) as error:
            await connection.execute(statement, {"name": "hunter2"})

    assert "hunter2" not in str(error.value)


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────────


async def test_deleted_item_stays_inactive(app: FastAPI, client: AsyncClient) -> None:
    item = (await client.post(ITEMS, json={"title": "Milk"})).json()

    await client.delete(f"{ITEMS}/{item['id']}")

    async with app.state.database.reading() as connection:
        row = (await connection.execute(sa.select(Item))).one()
    assert (row.title, row.is_active) == ("Milk", False)


async def test_server_sets_the_times(app: FastAPI, client: AsyncClient) -> None:
    await client.post(ITEMS, json={"title": "Milk"})

    async with app.state.database.reading() as connection:
        item = (await connection.execute(sa.select(Item))).one()

    assert item.created_at.utcoffset() == timedelta(0)
    assert item.updated_at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - item.created_at) < timedelta(minutes=1)


async def test_servers_clock_is_compared_with_what_is_stored(app: FastAPI) -> None:
    async with app.state.database.reading() as connection:
        before, now, after = (
            await connection.execute(
                sa.select(
                    sa.literal(datetime.now(UTC) - timedelta(minutes=1), Timestamp) < server_now(),
                    sa.cast(server_now(), sa.String),
                    sa.literal(datetime.now(UTC) + timedelta(minutes=1), Timestamp) < server_now(),
                )
            )
        ).one()

    assert before
    assert not after
    assert "." in now


async def test_time_is_stored_in_utc(app: FastAPI) -> None:
    local = datetime.fromisoformat("2026-03-01T01:30:00+02:00")

    async with app.state.database.reading() as connection:
        found = await connection.scalar(sa.select(sa.literal(local, Timestamp)))
        nothing = await connection.scalar(sa.select(sa.literal(None, Timestamp)))

    assert found == local
    assert found.utcoffset() == timedelta(0)
    assert nothing is None


async def test_session_leaves_the_transaction_to_its_owner(database: Database) -> None:
    async with database.transaction() as connection:
        async with orm_session(connection) as session:
            await session.execute(ADD_MARK)
        assert not await has_mark(database)

    assert await has_mark(database)


# ── Tables ───────────────────────────────────────────────────────────────────────────────────────


def indexed(table: sa.Table) -> set[str]:
    """Return the columns by which the table's rows are found without reading all of them."""
    keys = [index.columns for index in table.indexes]
    keys += [each.columns for each in table.constraints if isinstance(each, sa.UniqueConstraint)]
    return {columns[0].name for columns in [*keys, table.primary_key.columns]}


def tables() -> list[sa.Table]:
    return list(SQLModel.metadata.tables.values())


@pytest.mark.parametrize("table", tables(), ids=str)
def test_every_foreign_key_is_indexed_and_cascades(table: sa.Table) -> None:
    for key in table.foreign_keys:
        assert key.parent.name in indexed(table)
        assert key.ondelete == "CASCADE"


def test_every_column_that_items_are_listed_by_is_indexed() -> None:
    assert indexed(SQLModel.metadata.tables["items"]) >= LISTED_BY


def is_association(table: sa.Table) -> bool:
    """Whether the table links rows of two others: its key is the two references."""
    return len(table.primary_key) == 2 and all(each.foreign_keys for each in table.primary_key)


@pytest.mark.parametrize("table", [each for each in tables() if not is_association(each)], ids=str)
def test_every_table_has_an_id_and_times(table: sa.Table) -> None:
    assert [column.name for column in table.primary_key] == ["id"]
    assert isinstance(table.c.id.type, sa.Uuid)
    for name in ("created_at", "updated_at"):
        assert table.c[name].server_default is not None
        assert not table.c[name].nullable
    assert table.c.updated_at.onupdate is not None


@pytest.mark.parametrize("table", tables(), ids=str)
def test_constraints_and_indexes_are_named(table: sa.Table) -> None:
    names = [str(each.name) for each in table.constraints]
    names += [str(each.name) for each in table.indexes]

    assert names
    for name in names:
        kind, _, rest = name.partition("_")
        assert kind in {"ix", "uq", "ck", "fk", "pk"}
        assert rest.startswith(table.name)


async def test_indexes_are_in_the_database(database: Database) -> None:
    async with database.reading() as connection:
        found = await connection.run_sync(
            lambda sync: {index["name"] for index in sa.inspect(sync).get_indexes("items")}
        )

    assert found >= {index.name for index in SQLModel.metadata.tables["items"].indexes}


def test_relations_are_loaded_only_when_asked_for() -> None:
    for mapper in sa.inspect(Item).registry.mappers:
        for relation in mapper.relationships:
            assert relation.lazy in {"raise", "raise_on_sql"}, relation
