"""Deny by default: what is not on the short list of public routes asks who calls."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from app.main import app as documented
from tests.accounts import Account

PUBLIC = {
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/api/v1/health"),
    ("GET", "/api/v1/ready"),
    ("POST", "/api/v1/auth/forgot-password"),
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/refresh"),
    ("POST", "/api/v1/auth/reset-password"),
    ("POST", "/api/v1/auth/sign-up"),
    ("POST", "/api/v1/auth/verify-email"),
}
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
ID = "00000000-0000-4000-8000-000000000000"


def operations() -> Iterator[tuple[str, str]]:
    for path, item in documented.openapi()["paths"].items():
        for method in METHODS & item.keys():
            yield method.upper(), path


PROTECTED = sorted(set(operations()) - PUBLIC)


def test_public_routes_are_those_that_are_listed() -> None:
    paths = documented.openapi()["paths"]

    open_to_all = {
        (method, path)
        for method, path in operations()
        if not paths[path][method.lower()].get("security")
    }

    assert open_to_all == PUBLIC


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_protected_route_asks_who_calls(
    anonymous: AsyncClient, method: str, path: str
) -> None:
    response = await anonymous.request(method, path.format(item_id=ID, user_id=ID))

    assert response.status_code == 401
    assert response.json()["code"] == "unauthenticated"
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_protected_route_is_closed_after_logout(
    alice: Account, method: str, path: str
) -> None:
    await alice.sends("POST", "/api/v1/auth/logout")

    response = await alice.sends(method, path.format(item_id=ID, user_id=ID))

    assert response.status_code == 401
    assert response.json()["code"] == "invalid_token"


def test_routes_that_are_not_documented_are_the_documentation(app: FastAPI) -> None:
    documented_paths = app.openapi()["paths"].keys()

    hidden = {getattr(route, "path", "") for route in app.routes} - documented_paths - {""}

    assert hidden <= {
        "/docs",
        "/docs/assets/{path:path}",
        "/docs/oauth2-redirect",
        "/openapi.json",
        "/redoc",
    }


@pytest.mark.parametrize(
    ("method", "path"), [(method, path) for method, path in PROTECTED if "_id}" in path]
)
async def test_every_object_route_hides_what_is_not_the_callers(
    client: AsyncClient, bob: Account, method: str, path: str
) -> None:
    item = await bob.creates_item("secret")
    body = {"title": "Mine", "full_name": "Mine"} if method in {"PUT", "PATCH"} else None

    response = await client.request(
        method, path.format(item_id=item["id"], user_id=bob.id), json=body
    )

    assert response.status_code in {403, 404}
    assert "secret" not in response.text
    assert bob.email not in response.text


def test_swagger_ui_can_log_in() -> None:
    (scheme,) = documented.openapi()["components"]["securitySchemes"].values()

    assert scheme["type"] == "oauth2"
    assert scheme["flows"]["password"]["tokenUrl"] == "api/v1/auth/login"
