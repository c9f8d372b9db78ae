"""The tables of the models, without Alembic."""

from functools import cache

import sqlalchemy as sa
from sqlmodel import SQLModel

from app.db.database import Database


async def create_tables(database: Database) -> None:
    """Create them in an empty SQLite database."""
    async with database.transaction() as connection:
        raw = await connection.get_raw_connection()
        assert raw.driver_connection is not None
        await raw.driver_connection.executescript(_script())


@cache
def _script() -> str:
    """Return the statements, which take longer to write than to run."""
    statements: list[str] = []

    def note(statement: sa.ExecutableDDLElement, *_: object) -> None:
        statements.append(f"{statement.compile(dialect=engine.dialect)};")

    engine = sa.create_mock_engine("sqlite://", note)
    SQLModel.metadata.create_all(engine, checkfirst=False)
    return "".join(statements)
