"""What clients see when PostgreSQL fails them: 503, soon, and 200 as soon as it is back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
import uvicorn
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from httpx import AsyncClient, Response
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from app.api.database import Connection
from app.core.settings import Settings
from app.db.database import Database
from app.db.engine import create_engine
from app.main import create_app
from tests.support.clients import client_of
from tests.support.link import Link
from tests.support.problems import problem

READY = "/api/v1/ready"
READ = "/read"
WRITE = "/write"
SLOW = "/slow"

marks = sa.Table("marks", sa.MetaData(), sa.Column("name", sa.String, primary_key=True))


@pytest.fixture(autouse=True)
def _short_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds, for tests not to wait as long as clients may have to."""
    monkeypatch.setattr("app.db.engine.CONNECT_TIMEOUT", 0.5)
    monkeypatch.setattr("app.db.engine.LOCK_TIMEOUT", 0.1)
    monkeypatch.setattr("app.db.engine.STATEMENT_TIMEOUT", 1)
    monkeypatch.setattr("app.db.engine.COMMAND_TIMEOUT", 1.5)


@pytest.fixture
async def link(postgresql_url: str | None, real_database_url: str) -> AsyncIterator[Link]:
    if postgresql_url is None:
        pytest.skip("needs --database=postgresql")
    async with Link(real_database_url) as link:
        yield link


@pytest.fixture
async def server(real_database_url: str) -> AsyncIterator[Database]:
    """The database by a way that nothing happens to."""
    database = Database(
        create_async_engine(real_database_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    )
    async with database.transaction() as connection:
        await connection.run_sync(marks.metadata.create_all)
    yield database
    await database.dispose()


@pytest.fixture
async def app(
    link: Link,
    server: Database,  # noqa: ARG001, which has the table
    settings: Settings,
) -> AsyncIterator[FastAPI]:
    """An application with a small pool and routes for anyone."""
    app = create_app(
        settings.model_copy(
            update={
                "database_url": SecretStr(link.url),
                "database_pool_size": 2,
                "database_max_overflow": 0,
                "database_pool_timeout": 0.3,
            }
        )
    )

    @app.get(READ)
    async def read(connection: Connection) -> int:
        return await connection.scalar(sa.select(sa.func.count()).select_from(marks)) or 0

    @app.post(WRITE, status_code=201)
    async def write(connection: Connection, cut: bool = False) -> None:
        await connection.execute(sa.insert(marks).values(name="mark"))
        if cut:
            await link.cut()

    @app.post(SLOW)
    async def slow(connection: Connection, seconds: float) -> None:
        await connection.execute(sa.select(sa.func.pg_sleep(seconds)))

    async with LifespanManager(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[AsyncClient]:
    async with client_of(app) as client:
        yield client


def assert_unavailable(*responses: Response) -> None:
    for response in responses:
        assert problem(response, 503)["code"] == "service_unavailable"
        assert int(response.headers["Retry-After"]) > 0


async def assert_all_is_well(client: AsyncClient) -> None:
    assert (await client.get(READY)).status_code == 200
    assert (await client.get(READ)).status_code == 200
    assert (await client.post(SLOW, params={"seconds": 0})).status_code == 200


async def all_routes(client: AsyncClient) -> list[Response]:
    """Ask all at once, within the time that a client would wait."""
    async with asyncio.timeout(8):
        return list(await asyncio.gather(client.get(READY), client.get(READ), client.post(WRITE)))


async def test_stopped_server(link: Link, client: AsyncClient) -> None:
    await assert_all_is_well(client)

    await link.cut()
    assert_unavailable(*await all_routes(client))
    assert (await client.get("/api/v1/health")).status_code == 200

    await link.mend()
    await assert_all_is_well(client)


async def test_server_that_was_never_there(link: Link, client: AsyncClient) -> None:
    await link.cut()
    assert_unavailable(*await all_routes(client))

    await link.mend()
    await assert_all_is_well(client)


async def test_server_that_hangs(link: Link, client: AsyncClient) -> None:
    await assert_all_is_well(client)

    link.hold()
    async with asyncio.timeout(2):
        assert_unavailable(await client.get(READY))
        assert (await client.get("/api/v1/health")).status_code == 200
    assert_unavailable(*await all_routes(client))

    link.release()
    await assert_all_is_well(client)


async def test_connection_that_was_ended_while_it_rested(
    server: Database, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.db.pre_ping.TRUSTED_FOR", 0)
    await assert_all_is_well(client)

    await end_connections(server)

    await assert_all_is_well(client)


async def test_connection_that_was_ended_right_after_its_use(
    server: Database, client: AsyncClient
) -> None:
    await assert_all_is_well(client)

    await end_connections(server)

    # The news may still be on its way.
    assert (await client.get(READ)).status_code in {200, 503}
    assert (await client.get(READY)).status_code in {200, 503}
    await assert_all_is_well(client)


async def end_connections(server: Database) -> None:
    others = sa.text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    async with server.reading() as connection:
        await connection.execute(others)


async def test_connection_that_is_ended_in_use(server: Database, client: AsyncClient) -> None:
    slow = asyncio.create_task(client.post(SLOW, params={"seconds": 3}))
    await until_running(server, "pg_sleep")

    await end_connections(server)

    assert_unavailable(await slow)
    await assert_all_is_well(client)


async def until_running(server: Database, part: str) -> None:
    """Wait until the server runs such a statement for the application."""
    running = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%' || :part || '%'"
    )
    async with asyncio.timeout(5), server.reading() as connection:
        while not await connection.scalar(running, {"part": part}):
            pass


async def test_server_that_is_gone_at_the_commit(server: Database, client: AsyncClient) -> None:
    response = await client.post(WRITE, params={"cut": True})

    assert_unavailable(response)
    async with server.reading() as connection:
        assert (await connection.execute(sa.select(marks))).all() == []


async def test_exhausted_pool(app: FastAPI, client: AsyncClient) -> None:
    database: Database = app.state.database

    async with database.reading(), database.reading():
        ready, *others = await all_routes(client)

    assert ready.status_code == 200  # a busy pool is no outage
    assert_unavailable(*others)
    await assert_all_is_well(client)


async def test_lock_that_is_not_released(server: Database, client: AsyncClient) -> None:
    async with server.transaction() as connection:
        await connection.execute(sa.text("LOCK TABLE marks"))
        assert_unavailable(await client.get(READ), await client.post(WRITE))

    await assert_all_is_well(client)


async def test_statement_that_takes_too_long(client: AsyncClient) -> None:
    assert_unavailable(await client.post(SLOW, params={"seconds": 10}))

    await assert_all_is_well(client)


@pytest.mark.parametrize(("for_migrations", "bound"), [(False, "1s"), (True, "0")])
async def test_statements_are_bounded_but_for_migrations(
    link: Link, for_migrations: bool, bound: str
) -> None:
    engine = create_engine(Settings(database_url=link.url), for_migrations=for_migrations)
    async with engine.connect() as connection:
        statement_timeout = await connection.scalar(sa.text("SHOW statement_timeout"))
        lock_timeout = await connection.scalar(sa.text("SHOW lock_timeout"))
    await engine.dispose()

    assert statement_timeout == bound
    assert lock_timeout == "100ms"


async def test_clients_that_hang_up_leave_no_connection_behind(
    app: FastAPI, client: AsyncClient
) -> None:
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())
    await until_started(server)
    address = server.servers[0].sockets[0].getsockname()

    await asyncio.gather(*(ask_and_hang_up(*address) for _ in range(64)))
    server.should_exit = True
    await serving

    assert app.state.database._engine.pool.checkedout() == 0  # noqa: SLF001
    await assert_all_is_well(client)


async def until_started(server: uvicorn.Server) -> None:
    while not server.started:  # noqa: ASYNC110, it has no event to wait for
        await asyncio.sleep(0)


async def ask_and_hang_up(host: str, port: int) -> None:
    _, writer = await asyncio.open_connection(host, port)
    writer.write(f"POST {SLOW}?seconds=0.01 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await writer.drain()
    await asyncio.sleep(0.01)
    writer.transport.abort()


async def test_fault_that_will_not_pass_is_a_500(app: FastAPI, client: AsyncClient) -> None:
    @app.get("/nonsense")
    async def nonsense(connection: Connection) -> Any:
        await connection.execute(sa.text("SELECT nonsense"))

    assert (await client.get("/nonsense")).status_code == 500
