"""What the operator's commands share: a database, and faults that are told in one line."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NoReturn

import typer
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from app.core.errors import DomainError
from app.core.settings import Settings
from app.db.database import Database
from app.db.engine import create_engine


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """Open the database for the length of a command."""
    database = Database(create_engine(settings))
    try:
        yield database
    finally:
        await database.dispose()


@contextmanager
def faults_in_one_line() -> Iterator[None]:
    """Tell the operator why it cannot be done, not where in the code."""
    try:
        yield
    except DomainError as error:
        fail(str(error))
    except DBAPIError as error:
        fail(str(error.orig))


def faults_of(error: ValidationError) -> str:
    """Return a line for each fault, without the values, which may be secrets."""
    faults = error.errors(include_input=False, include_context=False, include_url=False)
    return "\n".join(
        f"{fault['loc'][0]}: {fault['msg'].removeprefix('Value error, ')}" for fault in faults
    )


def fail(message: str) -> NoReturn:
    """End the command with a message."""
    typer.echo(message, err=True)
    raise typer.Exit(1)
