"""The process's database, and the request's connection to it."""

import inspect
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.problems import raises
from app.core.errors import UnavailableError
from app.db.database import Database

_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


@raises(UnavailableError)
async def get_database(request: HTTPConnection) -> Database:
    """Return the process's database."""
    database: Database = request.app.state.database
    return database


CurrentDatabase = Annotated[Database, Depends(get_database)]


@raises(UnavailableError)
async def open_connection(request: HTTPConnection) -> AsyncIterator[AsyncConnection]:
    """Open the request's one connection: autocommit to read, a transaction to write.

    A WebSocket keeps a reading connection until it closes. To write, use `Database.transaction()`.
    """
    if _is_generator(request.scope.get("endpoint")):
        raise RuntimeError(
            "A route that yields its response runs after `Connection` is closed:"
            " use `StreamingConnection`, and a caller that holds no connection."
        )
    database: Database = request.app.state.database
    is_safe = request.scope.get("method", "GET") in _SAFE_METHODS
    opened = database.reading() if is_safe else database.transaction()
    async with opened as connection:
        yield connection


# With scope "function", the commit comes before the response: if it fails, the client gets an
# error.
Connection = Annotated[AsyncConnection, Depends(open_connection, scope="function")]


@raises(UnavailableError)
async def open_streaming_connection(database: CurrentDatabase) -> AsyncIterator[AsyncConnection]:
    """Open a connection for reading, and keep it until the whole response is sent."""
    async with database.reading() as connection:
        yield connection


# With scope "request", the default, the connection is closed after the response.
StreamingConnection = Annotated[AsyncConnection, Depends(open_streaming_connection)]


def _is_generator(endpoint: object) -> bool:
    return inspect.isasyncgenfunction(endpoint) or inspect.isgeneratorfunction(endpoint)
