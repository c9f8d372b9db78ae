"""SQLite's file: what connections to it are told, and what clients see while it is locked."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from httpx import AsyncClient
from pydantic import SecretStr
from sqlalchemy import make_url, text

from app.api.database import Connection
from app.core.settings import Settings
from app.db.engine import create_engine
from app.main import create_app
from tests.support.clients import client_of
from tests.support.problems import problem

READ = "/read"
WRITE = "/write"


@pytest.fixture
async def client(
    monkeypatch: pytest.MonkeyPatch, real_database_url: str, settings: Settings
) -> AsyncIterator[AsyncClient]:
    """A client of an application that does not wait long."""
    monkeypatch.setattr("app.db.sqlite.BUSY_TIMEOUT", 0.1)
    app = create_app(settings.model_copy(update={"database_url": SecretStr(real_database_url)}))
    add_routes(app)
    async with LifespanManager(app), client_of(app) as client:
        yield client


def add_routes(app: FastAPI) -> None:
    @app.get(READ)
    async def read(connection: Connection) -> None:
        await connection.execute(text("SELECT count(*) FROM items"))

    @app.post(WRITE)
    async def write(connection: Connection) -> None:
        await connection.execute(text("UPDATE items SET title = title"))


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Hold the lock of a writer."""
    with closing(sqlite3.connect(str(make_url(url).database))) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize("for_migrations", [False, True])
async def test_foreign_keys_hold_but_for_migrations(
    real_database_url: str, for_migrations: bool
) -> None:
    engine = create_engine(Settings(database_url=real_database_url), for_migrations=for_migrations)
    async with engine.connect() as connection:
        found = await connection.scalar(text("PRAGMA foreign_keys"))
    await engine.dispose()

    assert found == (0 if for_migrations else 1)


async def test_writers_are_told_to_come_back_later(
    client: AsyncClient, real_database_url: str
) -> None:
    with locked(real_database_url):
        response = await client.post(WRITE)

    assert problem(response, 503)["code"] == "service_unavailable"
    assert int(response.headers["Retry-After"]) > 0
    assert (await client.post(WRITE)).status_code == 200


async def test_readers_do_not_wait_for_a_writer(
    client: AsyncClient, real_database_url: str
) -> None:
    with locked(real_database_url):
        assert (await client.get(READ)).status_code == 200
        assert (await client.get("/api/v1/ready")).status_code == 200


@pytest.mark.parametrize("for_migrations", [False, True])
async def test_new_file_is_for_its_owner_only(tmp_path: Path, for_migrations: bool) -> None:
    file = tmp_path / "app.db"
    settings = Settings(database_url=f"sqlite:///{file}")
    engine = create_engine(settings, for_migrations=for_migrations)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE marks (name TEXT)"))
        found = modes(tmp_path)
    await engine.dispose()

    assert found == {"app.db": 0o600, "app.db-shm": 0o600, "app.db-wal": 0o600}


def modes(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
