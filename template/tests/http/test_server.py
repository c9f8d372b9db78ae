"""The server: bounds on headers, as clients without a proxy meet them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from uvicorn import Config
from uvicorn.server import ServerState

from app import server
from app.server import BoundedHttpProtocol

HEALTH = b"GET /api/v1/health HTTP/1.1\r\nHost: test\r\n"


@pytest.fixture
async def port(app: FastAPI) -> AsyncIterator[int]:
    config = Config(app, http=BoundedHttpProtocol, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    listener = await asyncio.get_running_loop().create_server(
        lambda: BoundedHttpProtocol(config, state, {}), "127.0.0.1", 0
    )
    yield listener.sockets[0].getsockname()[1]
    listener.close()
    await asyncio.gather(*state.tasks)


async def answer(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    first = await reader.readline()
    writer.close()
    return first


async def test_headers_within_the_limit_are_read(port: int) -> None:
    headers = b"".join(b"X-%d: %s\r\n" % (n, b"x" * 1000) for n in range(50))

    assert b" 200 " in await answer(port, HEALTH + headers + b"\r\n")


@pytest.mark.parametrize(
    "headers",
    [
        b"".join(b"X-%d: %s\r\n" % (n, b"x" * 1000) for n in range(70)) + b"\r\n",
        b"X: " + b"x" * 70_000 + b"\r\n\r\n",
        b"X: " + b"x" * 400_000,
    ],
    ids=["many", "large", "endless"],
)
async def test_headers_over_the_limit_are_refused(port: int, headers: bytes) -> None:
    assert b" 431 " in await answer(port, HEALTH + headers)


@pytest.mark.parametrize("begun", [b"", b"GET / HT", HEALTH])
async def test_headers_that_do_not_end_are_not_waited_for(
    port: int, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(server, "HEADER_TIMEOUT", 0.05)

    assert b" 408 " in await answer(port, begun)
