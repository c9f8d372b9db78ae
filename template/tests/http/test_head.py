"""HEAD: answered wherever GET is, with the same headers and no body."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest
from fastapi import FastAPI, Response
from httpx import AsyncClient

ITEMS = "/api/v1/items"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/docs",
        "/docs/assets/swagger-ui.css",
        "/redoc",
        "/openapi.json",
        "/api/v1/health",
        "/api/v1/ready",
        ITEMS,
        f"{ITEMS}?limit=0",
        f"{ITEMS}/7f0c2f5e-8a3b-4a53-9d0c-0f3a1c5f5e11",
        "/nothing",
    ],
)
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_head_is_get_without_the_body(client: AsyncClient, path: str, encoding: str) -> None:
    headers = {"Accept-Encoding": encoding, "X-Request-ID": "my-id"}

    get = await client.get(path, headers=headers)
    head = await client.head(path, headers=headers)

    assert head.status_code == get.status_code
    assert head.content == b""
    assert head.headers.keys() == get.headers.keys()
    if get.is_success:  # a problem has the time in it, whose length varies
        assert head.headers == get.headers


async def test_head_without_get_is_refused(app: FastAPI, client: AsyncClient) -> None:
    @app.post("/only-post")
    async def only_post() -> None:
        """Never reached."""

    response = await client.head("/only-post")

    assert (response.status_code, response.content) == (405, b"")
    assert response.headers["Allow"] == "POST"


async def test_route_may_answer_head_itself(app: FastAPI, client: AsyncClient) -> None:
    @app.get("/file")
    async def get_file() -> str:
        pytest.fail("it was asked for with HEAD")

    @app.head("/file")
    async def head_file(response: Response) -> None:
        response.headers["X-Size"] = "1000000"

    response = await client.head("/file")

    assert (response.status_code, response.headers["X-Size"]) == (200, "1000000")


async def test_head_of_an_endless_stream_ends(app: FastAPI, client: AsyncClient) -> None:
    @app.get("/ticks")
    async def ticks() -> AsyncIterator[int]:
        for tick in count():
            yield tick
            await asyncio.sleep(0)

    response = await client.head("/ticks")

    assert (response.status_code, response.content) == (200, b"")
