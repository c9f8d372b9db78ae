"""Alembic, on a database of the tests."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from app.core.settings import Settings
from app.db.engine import create_engine

CONFIG = Config(Path(__file__).parents[2] / "alembic.ini")


def migrate(url: str) -> None:
    """Bring the database up to date."""
    run_alembic(url, lambda config: command.upgrade(config, "head"))


def run_alembic(url: str, run: Callable[[Config], None]) -> None:
    """Call `run` with a configuration that points Alembic at the database."""

    def use(connection: Connection) -> None:
        CONFIG.attributes["connection"] = connection
        run(CONFIG)

    async def connect() -> None:
        engine = create_engine(Settings(database_url=url), for_migrations=True)
        async with engine.begin() as connection:
            await connection.run_sync(use)
        await engine.dispose()

    asyncio.run(connect())
