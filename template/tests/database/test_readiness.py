"""Readiness: whether the database answers, with the schema that this code needs."""

import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from app.core.settings import Settings
from app.db.database import Database
from tests.support.applications import running
from tests.support.clients import client_of
from tests.support.problems import problem

READY = "/api/v1/ready"


async def execute(database: Database, statement: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(sa.text(statement))


async def test_migrated_database_is_ready(app: FastAPI) -> None:
    async with client_of(app) as client:
        response = await client.get(READY)

    assert response.json() == {
        "status": "ready",
        "checks": {"database": "ok", "migrations": "ok"},
    }


@pytest.mark.parametrize("lack", ["DELETE FROM alembic_version", "DROP TABLE alembic_version"])
async def test_schema_behind_the_code_is_not_ready(real_database_url: str, lack: str) -> None:
    async with running(Settings(database_url=real_database_url)) as app, client_of(app) as client:
        await execute(app.state.database, lack)

        problem(await client.get(READY), 503)


async def test_schema_of_a_later_release_is_ready(real_database_url: str) -> None:
    async with running(Settings(database_url=real_database_url)) as app, client_of(app) as client:
        await execute(app.state.database, "UPDATE alembic_version SET version_num = 'later'")

        assert (await client.get(READY)).status_code == 200


async def test_full_pool_is_ready(real_database_url: str) -> None:
    settings = Settings(
        database_url=real_database_url,
        database_pool_size=1,
        database_max_overflow=0,
        database_pool_timeout=0.1,
    )
    async with (
        running(settings) as app,
        app.state.database.reading(),
        client_of(app) as client,
    ):
        statuses = [(await client.get(READY)).status_code for _ in range(3)]

    assert statuses == [200, 200, 200]
