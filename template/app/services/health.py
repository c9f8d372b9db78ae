"""Whether the service can do its work."""

import asyncio

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from app.core.errors import UnavailableError
from app.db.database import Database
from app.schemas.health import Readiness

# Seconds; probes give up after two or three.
PATIENCE = 1.5


async def readiness(database: Database) -> Readiness:
    """Ask everything the service depends on.

    Raises:
        UnavailableError: the database does not answer in time.
    """
    try:
        async with asyncio.timeout(PATIENCE), database.reading() as connection:
            await connection.execute(select(1))
    except (TimeoutError, SQLAlchemyError) as error:
        raise UnavailableError("The database does not answer.") from error
    return Readiness(checks={"database": "ok"})
