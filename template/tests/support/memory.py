"""Databases in memory, each a copy of a migrated one."""

import aiosqlite

from app.db.database import Database


async def fill(database: Database, template: aiosqlite.Connection) -> None:
    """Copy the template into a SQLite database in memory."""
    async with database.reading() as connection:
        raw = await connection.get_raw_connection()
        assert raw.driver_connection is not None
        await template.backup(raw.driver_connection)
