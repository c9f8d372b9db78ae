"""The process's database, and the request's connection to it."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.problems import raises
from app.core.errors import UnavailableError
from app.db.database import Database

_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


@raises(UnavailableError)
async def get_database(request: Request) -> Database:
    """Return the process's database."""
    database: Database = request.app.state.database
    return database


CurrentDatabase = Annotated[Database, Depends(get_database)]


@raises(UnavailableError)
async def open_connection(request: Request) -> AsyncIterator[AsyncConnection]:
    """Open the request's one connection: autocommit to read, a transaction to write."""
    database: Database = request.app.state.database
    opened = database.reading() if request.method in _SAFE_METHODS else database.transaction()
    async with opened as connection:
        yield connection


# Scope «function»: the commit comes before the response, so that no client is told of a change
# that did not happen.
Connection = Annotated[AsyncConnection, Depends(open_connection, scope="function")]
