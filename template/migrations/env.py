"""How Alembic reaches the database: through the application's own engine and settings."""

import asyncio

from alembic import context
from sqlalchemy import Connection
from sqlmodel import SQLModel

import app.models  # noqa: F401, so that every table is known
from app.core.logging import configure_logging
from app.core.settings import get_settings
from app.db.engine import create_engine


def migrate(connection: Connection) -> None:
    """Run the migrations in one transaction."""
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        compare_server_default=False,
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
