"""Readiness check."""

import asyncio

from sqlalchemy.exc import SQLAlchemyError

from app.core.errors import UnavailableError
from app.db.database import Database
from app.db.migrations import APPLIED, is_behind
from app.schemas.health import Readiness

# Seconds; probes give up after two or three.
PATIENCE = 1.5

_given_up: set[asyncio.Task[None]] = set()


async def readiness(database: Database) -> Readiness:
    """Check every dependency of the service.

    Raises:
        UnavailableError: the database does not answer in time, or its schema is behind this code.
    """
    answer = asyncio.create_task(_ask(database))
    await asyncio.wait({answer}, timeout=PATIENCE)
    if not answer.done():
        # Cancelling a hanging connection takes seconds as well, so the probe does not wait for it.
        answer.cancel()
        _given_up.add(answer)
        answer.add_done_callback(_forget)
        raise UnavailableError("The database does not answer in time.")
    await answer
    return Readiness(checks={"database": "ok", "migrations": "ok"})


async def _ask(database: Database) -> None:
    try:
        async with database.probing() as connection:
            applied = set((await connection.execute(APPLIED)).scalars())
    except SQLAlchemyError as error:
        raise UnavailableError("The database's migrations cannot be read.") from error
    if await asyncio.to_thread(is_behind, applied):
        raise UnavailableError("The schema is behind this code: run the migrations.")


def _forget(answer: asyncio.Task[None]) -> None:
    _given_up.discard(answer)
    if not answer.cancelled():
        # Retrieve the exception; otherwise asyncio logs that it was never retrieved.
        answer.exception()
