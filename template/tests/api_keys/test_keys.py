"""Who may call: holders of a key, as far as its scopes go."""

from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from httpx import AsyncClient, Headers
from pydantic import ValidationError

from app.api.api_keys.dependencies import CurrentCaller
from app.core.security.api_keys import new_key
from app.core.settings import Settings
from tests.http.test_websockets import messages
from tests.support.api_keys import Keys

_ITEMS = "/api/v1/items"
_PUBLIC = {"/api/v1/health", "/api/v1/ready"}


def test_every_route_is_protected_or_known_to_be_public(app: FastAPI) -> None:
    open_paths = {
        path
        for path, operations in app.openapi()["paths"].items()
        for operation in operations.values()
        if not any(scopes for scheme in operation.get("security", []) for scopes in scheme.values())
    }

    assert open_paths == _PUBLIC


async def test_every_protected_route_refuses_who_has_no_key(
    app: FastAPI, anonymous: AsyncClient
) -> None:
    for path, operations in app.openapi()["paths"].items():
        for method in operations.keys() if path not in _PUBLIC else ():
            response = await anonymous.request(method, path, json={"title": "Milk"})

            assert response.status_code == 401, f"{method} {path}"


def test_openapi_tells_the_header_and_the_scopes(app: FastAPI) -> None:
    document = app.openapi()

    scheme = document["components"]["securitySchemes"]["ApiKey"]
    assert scheme == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    assert document["paths"][_ITEMS]["get"]["security"] == [{"ApiKey": ["items:read"]}]
    assert document["paths"][_ITEMS]["post"]["security"] == [{"ApiKey": ["items:write"]}]


async def test_all_that_is_not_a_valid_key_is_refused_alike(
    anonymous: AsyncClient, keys: Keys
) -> None:
    valid = await keys.make("items:read")
    expired = await keys.make("items:read", lifetime=timedelta(seconds=-1))
    flipped = valid[:-1] + ("A" if valid[-1] != "A" else "B")
    presented: list[list[tuple[str, str]]] = [
        [],
        [("X-API-Key", "")],
        [("X-API-Key", new_key())],
        [("X-API-Key", expired)],
        [("X-API-Key", flipped)],
        [("X-API-Key", f"{valid}x")],
        [("X-API-Key", valid[:-1])],
        [("X-API-Key", valid.partition("_")[0])],
        [("X-API-Key", "ключ")],
        [("X-API-Key", f"{valid}, {valid}")],
        [("X-API-Key", valid), ("X-API-Key", valid)],
        [("X-API-Key", valid), ("X-API-Key", "")],
        [("Authorization", f"Bearer {valid}")],
        [("Cookie", f"api_key={valid}")],
    ]

    answers = [await _refusal(anonymous, headers) for headers in presented]

    assert answers[0]["status"] == 401
    assert answers[0]["code"] == "unauthenticated"
    assert answers[0]["challenge"] == "APIKey"
    assert all(answer == answers[0] for answer in answers)


async def _refusal(client: AsyncClient, headers: list[tuple[str, str]]) -> dict[str, Any]:
    response = await client.get(_ITEMS, headers=Headers(headers, encoding="utf-8"))
    problem: dict[str, Any] = response.json()
    del problem["request_id"], problem["timestamp"]
    return {"challenge": response.headers["WWW-Authenticate"], **problem}


@pytest.mark.parametrize(
    ("method", "scope"),
    [
        ("GET", "items:read"),
        ("POST", "items:write"),
        ("PUT", "items:write"),
        ("PATCH", "items:write"),
        ("DELETE", "items:write"),
    ],
)
async def test_key_does_only_what_its_scopes_allow(
    client: AsyncClient, keys: Keys, method: str, scope: str
) -> None:
    item = (await client.post(_ITEMS, json={"title": "Milk"})).json()
    path = _ITEMS if method == "POST" else f"{_ITEMS}/{item['id']}"
    [other] = {"items:read", "items:write"} - {scope}
    lacking, having = await keys.make(other), await keys.make(scope)

    refused = await _send(client, method, path, lacking)
    allowed = await _send(client, method, path, having)

    assert refused == (403, "insufficient_scope")
    assert allowed[0] in {200, 201, 204}


async def _send(client: AsyncClient, method: str, path: str, key: str) -> tuple[int, str | None]:
    body = {"title": "Milk"} if method in {"POST", "PUT", "PATCH"} else None
    response = await client.request(method, path, json=body, headers={"X-API-Key": key})
    return response.status_code, response.json()["code"] if response.is_error else None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_key_that_may_not_read_is_shown_the_id_alone(
    client: AsyncClient, keys: Keys, method: str
) -> None:
    item = (await client.post(_ITEMS, json={"title": "Milk", "description": "secret"})).json()
    path = _ITEMS if method == "POST" else f"{_ITEMS}/{item['id']}"
    headers = {"X-API-Key": await keys.make("items:write")}
    body = {} if method == "PATCH" else {"title": "Milk"}

    response = await client.request(method, path, json=body, headers=headers)

    assert response.status_code == (201 if method == "POST" else 200)
    assert response.json().keys() == {"id"}
    assert ("Location" in response.headers) == (method == "POST")


def test_every_response_to_a_write_may_be_the_id_alone(app: FastAPI) -> None:
    # The router of a new resource needs `route_class=ScopedRoute`.
    shown = [
        response["content"]["application/json"]["schema"]
        for operations in app.openapi()["paths"].values()
        for operation in operations.values()
        if ":write" in str(operation.get("security"))
        for code, response in operation["responses"].items()
        if code in {"200", "201"}
    ]

    assert shown
    assert all({"$ref": "#/components/schemas/Written"} in schema["anyOf"] for schema in shown)


async def test_refused_write_changes_nothing(client: AsyncClient, keys: Keys) -> None:
    reader = {"X-API-Key": await keys.make("items:read")}

    await client.post(_ITEMS, json={"title": "Milk"}, headers=reader)

    assert (await client.get(_ITEMS)).json()["total"] == 0


class TestRateLimit:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(rate_limit_api_key="2/minute")

    async def test_key_that_calls_too_often_has_to_wait(self, client: AsyncClient) -> None:
        answers = [await client.get(_ITEMS) for _ in range(3)]

        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[2].json()["code"] == "rate_limited"
        assert 1 <= int(answers[2].headers["Retry-After"]) <= 60

    async def test_each_key_is_counted_alone(self, client: AsyncClient, keys: Keys) -> None:
        other = {"X-API-Key": await keys.make("items:read")}
        for _ in range(3):
            await client.get(_ITEMS)

        assert (await client.get(_ITEMS, headers=other)).status_code == 200


@pytest.mark.parametrize("limit", ["often", "0/minute", "10/minute;20/hour", f"1 per {10**30} day"])
def test_limit_that_is_no_limit_is_refused(limit: str) -> None:
    with pytest.raises(ValidationError, match="as in 10/minute"):
        Settings(rate_limit_api_key=limit)


async def test_websocket_without_a_key_is_refused_before_it_is_accepted(
    app: FastAPI, keys: Keys
) -> None:
    @app.websocket("/socket")
    async def socket(websocket: WebSocket, _caller: CurrentCaller) -> None:
        await websocket.accept()

    refused = await messages(app, "/socket", {})
    accepted = await messages(app, "/socket", {"x-api-key": await keys.make("items:read")})

    assert [(message["type"], message["code"]) for message in refused] == [
        ("websocket.close", 4401)
    ]
    assert [message["type"] for message in accepted] == ["websocket.accept"]
