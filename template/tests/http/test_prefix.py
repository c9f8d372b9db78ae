"""A service below a path of its host (`root_path`): the prefix is part of every path it sends."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from app.core.settings import Settings
from tests.support.clients import client_of

ITEMS = "/api/v1/items"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"allowed_hosts": ["test"]})


@pytest.fixture(params=["http://test", "http://test/shop"], ids=["taken-off", "left-on"])
async def below(
    request: pytest.FixtureRequest, app: FastAPI, client: AsyncClient
) -> AsyncIterator[AsyncClient]:
    """A client of the service at `/shop`, behind a proxy that takes the prefix off or leaves it."""
    async with client_of(
        app, base_url=request.param, root_path="/shop", headers=client.headers
    ) as client_below:
        yield client_below


async def test_location_has_the_prefix(below: AsyncClient) -> None:
    response = await below.post(ITEMS, json={"title": "Milk"})

    assert response.headers["Location"] == f"/shop{ITEMS}/{response.json()['id']}"


async def test_problem_names_the_path_with_the_prefix(below: AsyncClient) -> None:
    response = await below.get("/nothing")

    assert response.status_code == 404
    assert response.json()["instance"] == "/shop/nothing"


@pytest.mark.parametrize(
    ("path", "allowed"), [(ITEMS, "GET, HEAD, POST"), ("/docs", "GET, HEAD"), ("/", "GET, HEAD")]
)
async def test_wrong_method_is_told_every_right_one(
    below: AsyncClient, path: str, allowed: str
) -> None:
    response = await below.delete(path)

    assert response.status_code == 405
    assert response.headers["Allow"] == allowed


async def test_head_is_answered(below: AsyncClient) -> None:
    assert (await below.head(ITEMS)).status_code == 200


async def test_root_leads_to_the_documentation(below: AsyncClient) -> None:
    assert (await below.get("/")).headers["Location"] == "/shop/docs"


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_page_names_its_parts_with_the_prefix(below: AsyncClient, path: str) -> None:
    page = (await below.get(path)).text

    assert "/shop/openapi.json" in page
    assert "/shop/docs/assets/favicon.png" in page


async def test_openapi_names_the_prefix(below: AsyncClient) -> None:
    document = (await below.get("/openapi.json")).json()

    assert document["servers"] == [{"url": "/shop"}]


async def test_probe_is_answered_whatever_the_host(below: AsyncClient) -> None:
    response = await below.get("/api/v1/health", headers={"Host": "10.0.0.1"})

    assert response.status_code == 200
