"""The connections of routes that outlive a request: WebSockets and streams."""

from collections.abc import AsyncIterator, Iterator

import pytest
import sqlalchemy as sa
from fastapi import FastAPI, WebSocket
from httpx import AsyncClient

from app.api.database import Connection, StreamingConnection
from app.core.logging import configure_logging
from app.core.settings import Settings
from tests.http.test_websockets import messages
from tests.support.problems import problem


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"log_level": "error"})


@pytest.fixture(autouse=True)
def _quiet_afterwards() -> Iterator[None]:
    yield
    configure_logging(Settings())


async def test_websocket_reads_with_a_connection(app: FastAPI) -> None:
    @app.websocket("/socket")
    async def socket(websocket: WebSocket, connection: Connection) -> None:
        await websocket.accept()
        await websocket.send_json(await connection.scalar(sa.select(1)))

    assert [m.get("text") for m in await messages(app, "/socket", {})] == [None, "1"]


async def test_stream_reads_until_it_ends(app: FastAPI, client: AsyncClient) -> None:
    @app.get("/numbers")
    async def numbers(connection: StreamingConnection) -> AsyncIterator[int]:
        for number in (1, 2):
            yield await connection.scalar(sa.select(sa.literal(number))) or 0

    assert (await client.get("/numbers")).text == "1\n2\n"


async def test_connection_that_a_stream_would_find_closed_is_refused_at_once(
    app: FastAPI, client: AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    @app.get("/numbers")
    async def numbers(connection: Connection) -> AsyncIterator[int]:
        yield await connection.scalar(sa.select(1)) or 0

    problem(await client.get("/numbers"), 500)
    assert "use `StreamingConnection`" in capsys.readouterr().out
