"""Connections: autocommit to read, one transaction to write."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import CursorResult, Executable, event
from sqlalchemy.exc import InvalidRequestError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.pool import StaticPool

from app.core.errors import UnavailableError
from app.core.settings import DatabaseSettings
from app.db.engine import create_engine, transactional


class Database:
    """Opens connections to read or to write, from one pool. Idle ones are in autocommit."""

    def __init__(self, engine: AsyncEngine, probes: AsyncEngine | None = None) -> None:
        self._engine = engine
        self._transactional = transactional(engine)
        self._probes = probes or engine

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection for statements that change nothing, each on its own.

        Raises:
            UnavailableError: no connection could be made.
        """
        connection = await _connect(ReadingConnection(self._engine))
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection in a transaction: commit at the end, roll back on any error.

        Raises:
            UnavailableError: no connection could be made.
        """
        connection = await _connect(AsyncConnection(self._transactional))
        try:
            async with connection.begin():
                yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def probing(self) -> AsyncIterator[AsyncConnection]:
        """Open the connection reserved for probes: a busy pool is no outage.

        Raises:
            UnavailableError: no connection could be made.
        """
        connection = await _connect(ReadingConnection(self._probes))
        try:
            yield connection
        finally:
            await connection.close()

    async def dispose(self) -> None:
        """Close every connection."""
        await self._engine.dispose()
        await self._probes.dispose()


@asynccontextmanager
async def open_database(settings: DatabaseSettings) -> AsyncIterator[Database]:
    """Open the database of the settings, and close its connections at the end."""
    engine = create_engine(settings)
    one = {"database_pool_size": 1, "database_max_overflow": 0}
    # Another connection to a database in memory would open another database.
    is_in_memory = isinstance(engine.pool, StaticPool)
    probes = None if is_in_memory else create_engine(settings.model_copy(update=one))
    database = Database(engine, probes)
    try:
        yield database
    finally:
        await database.dispose()


class ReadingConnection(AsyncConnection):
    """A connection in autocommit. It refuses statements that write.

    They would be committed at once, even if the request fails later.
    """

    async def execute(self, statement: Executable, *args: Any, **options: Any) -> CursorResult[Any]:
        # An event listener of SQLAlchemy would cost every read several times as much.
        self.check(statement)
        return await super().execute(statement, *args, **options)

    @staticmethod
    def check(statement: Executable) -> None:
        """Refuse a statement that writes.

        Raises:
            InvalidRequestError: it is an INSERT, an UPDATE or a DELETE.
        """
        if statement.is_dml:
            raise InvalidRequestError("A statement that writes, on a connection opened to read.")


def _check(_connection: object, statement: Executable, *_: object) -> None:
    ReadingConnection.check(statement)


async def _connect(connection: AsyncConnection) -> AsyncConnection:
    try:
        return await connection.start()
    except (OSError, SQLAlchemyError) as error:
        raise UnavailableError("The database does not answer.") from error


@asynccontextmanager
async def orm_session(connection: AsyncConnection) -> AsyncIterator[AsyncSession]:
    """Open a session inside the connection's transaction, for entities and their relations.

    It flushes at the end; the transaction's owner commits.
    """
    if isinstance(connection, ReadingConnection):
        event.listen(connection.sync_connection, "before_execute", _check)
    async with AsyncSession(bind=connection, expire_on_commit=False) as session, session.begin():
        yield session
