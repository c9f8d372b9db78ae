"""How Alembic reaches the database: through the application's own engine and settings."""

import asyncio
from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection, DefaultClause
from sqlmodel import SQLModel

import app.models  # noqa: F401, so that every table is known
from app.core.logging import configure_logging
from app.core.settings import get_settings
from app.db.engine import create_engine
from app.db.types import Timestamp, server_now


def render_item(kind: str, item: Any, script: AutogenContext) -> str | Literal[False]:
    """Write what `app.db.types` defines by its name; Alembic writes the rest.

    It would write a private class for the one, and for the other what it is in this database alone.
    """
    if kind == "type" and item is Timestamp:
        script.imports.add("from app.db.types import Timestamp")
        return "Timestamp"
    if isinstance(item, DefaultClause) and isinstance(item.arg, server_now):
        script.imports.add("from app.db.types import server_now")
        return "server_now()"
    return False


def migrate(connection: Connection) -> None:
    """Run the migrations in one transaction."""
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        render_item=render_item,
        # SQLite changes a table by copying it.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


async def migrate_configured_database() -> None:
    """Run the migrations on the database of the settings."""
    engine = create_engine(get_settings(), for_migrations=True)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


# A caller that has a connection, such as a test, passes it on.
if (given := context.config.attributes.get("connection")) is not None:
    migrate(given)
else:
    configure_logging(get_settings())
    asyncio.run(migrate_configured_database())
