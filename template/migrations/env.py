"""Alembic's environment, with the application's engine and settings."""

import asyncio

from alembic import context
from sqlalchemy import Connection
from sqlmodel import SQLModel

import app.models  # noqa: F401, so that every table is known
from app.core.logging import configure_logging
from app.core.settings import DatabaseSettings, load_settings
from app.db import sqlite
from app.db.autogenerate import PLUGINS, arrange, render_item
from app.db.engine import create_engine


def migrate(connection: Connection) -> None:
    """Run the migrations in one transaction: all of them, or nothing if one fails."""
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        render_item=render_item,
        process_revision_directives=arrange,
        autogenerate_plugins=PLUGINS,
        # SQLite changes a table by copying it. Elsewhere, batches are plain ALTER statements.
        render_as_batch=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()
        if connection.dialect.name == "sqlite":
            sqlite.check_foreign_keys(connection)


async def migrate_configured_database(settings: DatabaseSettings) -> None:
    """Run the migrations on the database of the settings."""
    engine = create_engine(settings, for_migrations=True)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
    finally:
        await engine.dispose()


# A caller that has a connection, such as a test, passes it in.
if (given := context.config.attributes.get("connection")) is not None:
    migrate(given)
else:
    # A migration needs the database, and no other setting.
    database_settings = load_settings(DatabaseSettings)
    configure_logging(database_settings)
    asyncio.run(migrate_configured_database(database_settings))
