"""Statements that the database rejects: 409 and 422, whatever the route does about it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from httpx import AsyncClient
from pydantic import SecretStr

from app.api.database import Connection
from app.core.settings import Settings
from app.db.database import Database
from app.main import create_app
from tests.support.clients import client_of
from tests.support.problems import problem

metadata = sa.MetaData()
authors = sa.Table("authors", metadata, sa.Column("id", sa.Integer, primary_key=True))
books = sa.Table(
    "books",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("title", sa.String(100), unique=True),
    sa.Column("pages", sa.Integer, sa.CheckConstraint("pages > 0"), nullable=False),
    sa.Column("author_id", sa.ForeignKey("authors.id", ondelete="RESTRICT")),
    sa.Column("printed_on", sa.Date),
    sa.Column("shelf", sa.Uuid),
    sa.Column("weight", sa.BigInteger),
)
BOOK = {"id": 1, "title": "Ulysses", "pages": 732, "author_id": 1}


@pytest.fixture
async def app(real_database_url: str, settings: Settings) -> AsyncIterator[FastAPI]:
    """An application with an author, their book, and a route that runs any statement."""
    app = create_app(settings.model_copy(update={"database_url": SecretStr(real_database_url)}))

    @app.post("/run")
    async def run(connection: Connection) -> None:
        await connection.execute(app.state.statement)

    async with LifespanManager(app):
        database: Database = app.state.database
        async with database.transaction() as connection:
            await connection.run_sync(metadata.create_all)
            await connection.execute(sa.insert(authors).values(id=1))
            await connection.execute(sa.insert(books).values(BOOK))
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[AsyncClient]:
    async with client_of(app) as client:
        yield client


def book(**changes: Any) -> sa.Insert:
    return sa.insert(books).values({"id": 2, "title": "Emma", "pages": 474} | changes)


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(book(title="Ulysses"), id="unique"),
        pytest.param(book(id=1), id="primary key"),
        pytest.param(book(author_id=404), id="foreign key"),
        pytest.param(sa.delete(authors), id="still referred to"),
    ],
)
async def test_conflict_with_other_rows_is_409(
    app: FastAPI, client: AsyncClient, statement: sa.Executable
) -> None:
    app.state.statement = statement

    response = await client.post("/run")

    assert problem(response, 409)["code"] == "conflict"
    assert "Ulysses" not in response.text


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(book(pages=0), id="check"),
        pytest.param(book(pages=None), id="not null"),
        pytest.param(book(weight=2**70), id="integer out of range"),
        pytest.param(sa.select(books).offset(2**70), id="offset out of range"),
        pytest.param(book(title="\ud800"), id="lone surrogate"),
        pytest.param(book(printed_on="hunter2"), id="not a date"),
        pytest.param(book(shelf="hunter2"), id="not a UUID"),
        pytest.param(sa.select(sa.func.abs(sa.literal(-(2**63)))), id="overflow"),
    ],
)
async def test_value_that_does_not_fit_is_422(
    app: FastAPI, client: AsyncClient, statement: sa.Executable
) -> None:
    app.state.statement = statement

    response = await client.post("/run")

    assert problem(response, 422)["code"] == "unprocessable_content"
    assert "hunter2" not in response.text


async def test_faulty_statement_is_500(app: FastAPI, client: AsyncClient) -> None:
    for statement in ("SELECT nonsense", "SELECT * FROM nothing", "nonsense"):
        app.state.statement = sa.text(statement)
        assert (await client.post("/run")).status_code == 500

    app.state.statement = sa.text("SELECT :missing")
    assert (await client.post("/run")).status_code == 500


async def test_released_savepoint_is_part_of_the_transaction(
    app: FastAPI, client: AsyncClient
) -> None:
    @app.post("/savepoints")
    async def savepoints(connection: Connection, fail: bool) -> None:
        async with connection.begin_nested():
            await connection.execute(book())
        if fail:
            raise RuntimeError

    assert (await client.post("/savepoints", params={"fail": True})).status_code == 500
    assert await titles(app) == ["Ulysses"]
    assert (await client.post("/savepoints", params={"fail": False})).status_code == 200
    assert await titles(app) == ["Emma", "Ulysses"]


async def titles(app: FastAPI) -> list[str]:
    database: Database = app.state.database
    async with database.reading() as connection:
        return list(await connection.scalars(sa.select(books.c.title).order_by(books.c.title)))
