"""Who may call the service."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Headers

from app import __main__
from app.api_keys import get_settings
from app.core.api_keys import digest_of, new_key
from app.core.configured_keys import ConfiguredKey
from tests.conftest import MakeKey

_ITEMS = "/api/v1/items"
_PUBLIC = {"/api/v1/health", "/api/v1/ready"}


def test_every_route_is_protected_or_known_to_be_public(app: FastAPI) -> None:
    open_paths = {
        path
        for path, operations in app.openapi()["paths"].items()
        for operation in operations.values()
        if not operation.get("security")
    }

    assert open_paths == _PUBLIC


def test_openapi_tells_the_scopes(app: FastAPI) -> None:
    operations = app.openapi()["paths"][_ITEMS]

    assert operations["get"]["security"] == [{"ApiKey": ["items:read"]}]
    assert operations["post"]["security"] == [{"ApiKey": ["items:write"]}]


async def test_all_that_is_not_a_valid_key_is_refused_alike(
    anonymous: AsyncClient, make_key: MakeKey
) -> None:
    valid = make_key("items:read")
    expired = make_key("items:read", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    presented: list[list[tuple[str, str]]] = [
        [],
        [("X-API-Key", "")],
        [("X-API-Key", new_key())],
        [("X-API-Key", expired)],
        [("X-API-Key", f"{valid}x")],
        [("X-API-Key", valid[:-1])],
        [("X-API-Key", "ключ")],
        [("X-API-Key", valid), ("X-API-Key", valid)],
        [("Authorization", f"Bearer {valid}")],
        [("Cookie", f"api_key={valid}")],
    ]

    answers = []
    for headers in presented:
        response = await anonymous.get(_ITEMS, headers=Headers(headers, encoding="utf-8"))
        problem = response.json()
        del problem["request_id"], problem["timestamp"]
        answers.append((response.status_code, response.headers["WWW-Authenticate"], problem))

    assert answers[0][0] == 401
    assert answers[0][2]["code"] == "unauthenticated"
    assert all(answer == answers[0] for answer in answers)


async def test_key_does_only_what_its_scopes_allow(
    anonymous: AsyncClient, make_key: MakeKey
) -> None:
    anonymous.headers["X-API-Key"] = make_key("items:read")

    listed = await anonymous.get(_ITEMS)
    created = await anonymous.post(_ITEMS, json={"title": "Milk"})

    assert listed.status_code == 200
    assert created.status_code == 403
    assert created.json()["code"] == "insufficient_scope"


def test_created_key_is_printed_with_its_entry(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["app", "api-keys", "create", "--scope=items:read", "--expires-in-days=30"]
    monkeypatch.setattr("sys.argv", command)

    __main__.main()

    printed = dict(re.findall(r"^(.*?): +(.*)$", capsys.readouterr().out, re.MULTILINE))
    pepper = get_settings().api_key_pepper.get_secret_value()
    entry = ConfiguredKey.parse(printed["Entry of API_KEYS"])
    assert entry.digest == printed["Digest"] == digest_of(printed["Key, shown only now"], pepper)
    assert entry.scopes == {"items:read"}
    assert entry.expires_at is not None
    assert str(entry) == printed["Entry of API_KEYS"]


def test_missing_pepper_stops_the_start_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.delenv("API_KEY_PEPPER")
    monkeypatch.setenv("API_KEYS", "secret")

    with pytest.raises(SystemExit):
        get_settings()

    printed = capsys.readouterr().err
    assert "secret" not in printed
    lines = printed.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["API_KEYS", "API_KEY_PEPPER"]
