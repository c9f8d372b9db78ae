"""Set up SQLite, so that it behaves like a server's database."""

import contextlib
import os
import sqlite3
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

# Seconds, unless DATABASE_URL has a timeout.
BUSY_TIMEOUT = 3


def prepare(engine: AsyncEngine, *, foreign_keys: bool = True) -> AsyncEngine:
    """Return the engine, with every new connection set up."""
    url = engine.url
    is_file = url.database not in {None, "", ":memory:"}

    def create_file(*_: object) -> None:
        # SQLite would let everyone on the machine read it. If this fails, SQLite says why.
        if is_file:
            with contextlib.suppress(OSError):
                os.close(os.open(str(url.database), os.O_CREAT, 0o600))

    def configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        if "timeout" not in url.query:
            # Writers wait for their turn; readers go on meanwhile.
            cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000:.0f}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        cursor.close()
        # Its own lower() knows ASCII only.
        connection.create_function("lower", 1, _lower, deterministic=True)

    event.listen(engine.sync_engine, "do_connect", create_file)
    event.listen(engine.sync_engine, "connect", configure)
    event.listen(engine.sync_engine, "handle_error", _wrap_unencodable)
    return engine


def begin_before_savepoints(engine: AsyncEngine) -> AsyncEngine:
    """Return the engine; it begins a transaction before a savepoint.

    Otherwise the release of the savepoint would commit: Python's sqlite3 begins a transaction at
    the first statement that writes, and SQLite takes a savepoint outside of one for its beginning.
    """

    def begin(connection: Connection, _name: str | None) -> None:
        driver: Any = connection.connection.driver_connection
        if not driver.in_transaction:
            # Take the write lock now: after a read, it fails if another writer has committed.
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine.sync_engine, "savepoint", begin)
    return engine


def begin_at_once(engine: AsyncEngine) -> None:
    """Begin transactions before the first statement, so that changes of tables are part of them."""

    def begin(connection: Connection) -> None:
        # No other process can migrate meanwhile.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine.sync_engine, "begin", begin)


def check_foreign_keys(connection: Connection) -> None:
    """Refuse rows that refer to nothing: while tables are copied, SQLite does not check them.

    Raises:
        IntegrityError: with the table that has such rows.
    """
    dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if dangling is not None:
        cause = sqlite3.IntegrityError(f"FOREIGN KEY constraint failed: {dangling[0]}")
        raise IntegrityError("PRAGMA foreign_key_check", None, cause)


def _wrap_unencodable(context: ExceptionContext) -> None:
    """Raise SQLAlchemy's error for a number or a text that the driver cannot encode."""
    error = context.original_exception
    if isinstance(error, OverflowError | UnicodeEncodeError):
        raise StatementError(
            str(error), context.statement, None, error, hide_parameters=True
        ) from error


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()
