"""Where a request may carry its key."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI, Request
from httpx import AsyncClient
from pydantic import ValidationError

from app.core.settings import Settings
from tests.support.api_keys import Keys

_ITEMS = "/api/v1/items"
_CARRY: dict[str, Callable[[str], dict[str, Any]]] = {
    "authorization": lambda key: {"headers": {"Authorization": f"Bearer {key}"}},
    "cookie": lambda key: {"headers": {"Cookie": f"theme=dark; api_key={key}"}},
    "header": lambda key: {"headers": {"X-API-Key": key}},
    "query": lambda key: {"params": {"api_key": key, "limit": "1"}},
}
_VARY = {
    "authorization": "Authorization",
    "cookie": "Cookie",
    "header": "X-API-Key",
    "query": "X-API-Key",
}


class TestOneTransport:
    @pytest.fixture(params=_CARRY)
    def transport(self, request: pytest.FixtureRequest) -> str:
        transport: str = request.param
        return transport

    @pytest.fixture
    def settings(self, transport: str) -> Settings:
        return Settings(api_key_transports=[transport])

    async def test_key_is_taken_from_there_and_nowhere_else(
        self, anonymous: AsyncClient, keys: Keys, transport: str
    ) -> None:
        key = await keys.make("items:read")

        statuses = {
            name: (await anonymous.get(_ITEMS, **carry(key))).status_code
            for name, carry in _CARRY.items()
        }

        assert statuses.pop(transport) == 200
        assert set(statuses.values()) == {401}

    @pytest.mark.parametrize("is_valid", [True, False])
    async def test_no_cache_stores_what_the_key_is_answered(
        self, anonymous: AsyncClient, keys: Keys, transport: str, *, is_valid: bool
    ) -> None:
        key = await keys.make("items:read") if is_valid else "unknown"

        response = await anonymous.get(_ITEMS, **_CARRY[transport](key))

        assert response.headers["Cache-Control"] == "no-store"
        assert _VARY[transport] in response.headers["Vary"]


class TestEveryTransport:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(api_key_transports=list(_CARRY))

    async def test_key_given_twice_is_refused(self, anonymous: AsyncClient, keys: Keys) -> None:
        key = await keys.make("items:read")

        response = await anonymous.get(_ITEMS, params={"api_key": key}, headers={"X-API-Key": key})

        assert response.status_code == 401

    @pytest.mark.parametrize(
        "query", ["api_key=", "api_key=%00", "api_key=%0D%0AX-A:b", "api_key=%C3%A9"]
    )
    async def test_what_no_header_could_hold_is_refused(
        self, anonymous: AsyncClient, query: str
    ) -> None:
        assert (await anonymous.get(f"{_ITEMS}?{query}")).status_code == 401

    async def test_handlers_do_not_see_the_key_in_the_query(
        self, app: FastAPI, client: AsyncClient
    ) -> None:
        @app.get("/query")
        async def query(request: Request) -> str:
            return request.url.query

        response = await client.get("/query?a=1%262&api%5Fkey=secret&b=%C3%A9")

        assert response.json() == "a=1%262&b=%C3%A9"

    async def test_other_credentials_are_left_alone(
        self, anonymous: AsyncClient, keys: Keys
    ) -> None:
        headers = {"X-API-Key": await keys.make("items:read"), "Authorization": "Basic YTpi"}

        assert (await anonymous.get(_ITEMS, headers=headers)).status_code == 200


def test_unknown_transport_is_refused() -> None:
    with pytest.raises(ValidationError, match="must list some of"):
        Settings(api_key_transports=["path"])
