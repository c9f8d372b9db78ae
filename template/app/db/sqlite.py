"""What SQLite does not do unless every new connection is told."""

from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

# Seconds.
BUSY_TIMEOUT = 3


def prepare(engine: AsyncEngine, *, foreign_keys: bool = True) -> AsyncEngine:
    """Return the engine, whose connections will behave like those of a server."""

    def configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        # Writers wait for their turn; readers go on meanwhile.
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000:.0f}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        cursor.close()
        # Its own lower() knows ASCII only.
        connection.create_function("lower", 1, _lower, deterministic=True)

    event.listen(engine.sync_engine, "connect", configure)
    return engine


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()
