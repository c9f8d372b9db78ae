"""Connections: autocommit to read, one transaction to write."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import Executable, event
from sqlalchemy.exc import InvalidRequestError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from app.core.errors import UnavailableError
from app.db.engine import transactional


class Database:
    """The engine's two ways in. Both share one pool."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._transactional = transactional(engine)
        self._reading = engine.execution_options(isolation_level="AUTOCOMMIT")
        event.listen(self._reading.sync_engine, "before_execute", _refuse_to_write)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection for statements that change nothing, each on its own.

        Raises:
            UnavailableError: no connection could be made.
        """
        connection = await _connect(self._reading)
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
        connection = await _connect(self._transactional)
        try:
            async with connection.begin():
                yield connection
        finally:
            await connection.close()

    async def dispose(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


def _refuse_to_write(_connection: object, statement: Executable, *_: object) -> None:
    # It would be committed at once, whatever becomes of the request.
    if statement.is_dml:
        raise InvalidRequestError("A connection opened to read was told to write.")


async def _connect(engine: AsyncEngine) -> AsyncConnection:
    try:
        return await engine.connect()
    except (OSError, SQLAlchemyError) as error:
        raise UnavailableError("The database does not answer.") from error


@asynccontextmanager
async def orm_session(connection: AsyncConnection) -> AsyncIterator[AsyncSession]:
    """Open a session inside the connection's transaction, for entities and their relations.

    It flushes at the end; the transaction's owner commits.
    """
    async with AsyncSession(bind=connection, expire_on_commit=False) as session, session.begin():
        yield session
