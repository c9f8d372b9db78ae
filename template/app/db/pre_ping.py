"""Ping idle connections of the pool before they are used."""

import time
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

# Seconds.
TRUSTED_FOR: Final = 1.0


def ping_only_the_rested(engine: AsyncEngine) -> AsyncEngine:
    """Return the engine; `pool_pre_ping` then skips connections that were used a moment ago.

    Otherwise a busy service would pay a round trip for every request. If the server closes a
    connection, the event loop notices it without a ping. A ping is needed for a connection that was
    lost without a close, which takes longer than a moment.
    """
    dialect = engine.sync_engine.dialect
    ping = dialect.do_ping
    used_at: WeakKeyDictionary[object, float] = WeakKeyDictionary()

    def note_use(connection: DBAPIConnection | None, _entry: ConnectionPoolEntry) -> None:
        if connection is not None:
            used_at[connection.driver_connection] = time.monotonic()

    def ping_if_rested(dbapi_connection: DBAPIConnection) -> bool:
        driver: Any = dbapi_connection.driver_connection
        if time.monotonic() - used_at.get(driver, 0) < TRUSTED_FOR:
            return not driver.is_closed()
        return ping(dbapi_connection)

    event.listen(engine.sync_engine, "checkin", note_use)
    dialect.do_ping = ping_if_rested  # type: ignore[method-assign]
    return engine
