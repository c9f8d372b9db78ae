"""The tables of the models, made without running migrations."""

from functools import cache

import sqlalchemy as sa
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

from app.db.database import Database
from tests.support.migrations import CONFIG


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
    statements.append("CREATE TABLE alembic_version (version_num VARCHAR(32));")
    heads = ScriptDirectory.from_config(CONFIG).get_heads()
    statements += [f"INSERT INTO alembic_version VALUES ('{head}');" for head in heads]  # noqa: S608
    return "".join(statements)
