"""Keys made, listed and revoked: over HTTP and from the command line."""

import asyncio
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from httpx import AsyncClient
from pydantic import SecretStr
from sqlmodel import SQLModel, col
from typer.testing import CliRunner

from app.cli import api_keys
from app.cli.main import cli
from app.core.security.api_keys import new_key
from app.core.settings import Settings
from app.main import create_app
from app.models import ApiKey
from app.schemas.api_keys import ApiKeyCreate
from app.services.api_keys.errors import InvalidApiKeyError
from app.services.api_keys.stored import ApiKeyService, prefix_of
from tests.support.api_keys import Keys
from tests.support.clients import client_of

_KEYS = "/api/v1/api-keys"
_ITEMS = "/api/v1/items"
_ROW = sa.select(SQLModel.metadata.tables["api_keys"])
_NEW = {"name": "reports", "scopes": ["items:read"]}


@pytest.fixture
async def administrator(anonymous: AsyncClient, keys: Keys) -> AsyncClient:
    """A client that may make keys, and read items."""
    anonymous.headers["X-API-Key"] = await keys.make("items:read", "keys:admin")
    return anonymous


async def _row(app: FastAPI, key: str) -> sa.Row[Any]:
    async with app.state.database.reading() as connection:
        statement = _ROW.where(col(ApiKey.prefix) == prefix_of(key))
        row: sa.Row[Any] = (await connection.execute(statement)).one()
        return row


async def test_created_key_opens_what_its_scopes_allow(administrator: AsyncClient) -> None:
    created = await administrator.post(_KEYS, json=_NEW)

    key = created.json()["key"]
    assert created.status_code == 201
    assert created.headers["Cache-Control"] == "no-store"
    assert (await administrator.get(_ITEMS, headers={"X-API-Key": key})).status_code == 200
    assert (await administrator.get(_KEYS, headers={"X-API-Key": key})).status_code == 403


async def test_key_is_shown_once_and_kept_as_a_digest(
    app: FastAPI, administrator: AsyncClient
) -> None:
    key = (await administrator.post(_KEYS, json=_NEW)).json()["key"]

    listed = await administrator.get(_KEYS)

    secret = key.partition("_")[2]
    assert secret not in listed.text
    assert secret not in str(await _row(app, key))


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"scopes": ["items:write"]}, 403),
        ({"scopes": ["items:read", "items:write"]}, 403),
        ({"scopes": ["keys:admin"]}, 201),
        ({"scopes": []}, 422),
        ({"scopes": ["*"]}, 422),
        ({"scopes": ["items:read"] * 4}, 422),
        ({"name": "two\nlines"}, 422),
        ({"name": "\x1b[2J"}, 422),
        ({"name": ""}, 422),
        ({"expires_in_days": 0}, 422),
    ],
)
async def test_key_makes_no_key_with_more_scopes_than_its_own(
    administrator: AsyncClient, change: dict[str, object], status: int
) -> None:
    response = await administrator.post(_KEYS, json=_NEW | change)

    assert response.status_code == status


async def test_key_makes_no_key_that_lasts_longer_than_itself(
    administrator: AsyncClient, keys: Keys
) -> None:
    maker = await keys.make("items:read", "keys:admin", lifetime=timedelta(days=2))
    headers = {"X-API-Key": maker}

    longer = await administrator.post(_KEYS, json=_NEW | {"expires_in_days": 3}, headers=headers)
    shorter = await administrator.post(_KEYS, json=_NEW | {"expires_in_days": 1}, headers=headers)
    as_long = await administrator.post(_KEYS, json=_NEW, headers=headers)

    assert longer.json()["code"] == "broader_key"
    assert shorter.status_code == 201
    assert as_long.json()["expires_at"] > shorter.json()["expires_at"]


async def test_fields_that_are_not_the_callers_to_set_have_no_effect(
    administrator: AsyncClient,
) -> None:
    given = {"id": "0" * 32, "prefix": "ak0", "digest": "0" * 64, "is_active": False, "key": "x"}

    created = (await administrator.post(_KEYS, json=_NEW | given)).json()

    assert not given.items() & created.items()
    assert created["is_active"] is True


async def test_keys_are_listed_a_page_at_a_time(administrator: AsyncClient) -> None:
    await administrator.post(_KEYS, json=_NEW)

    page = (await administrator.get(_KEYS, params={"limit": 1})).json()

    assert [key["name"] for key in page.pop("items")] == ["reports"]
    assert page == {"total": 2, "skip": 0, "limit": 1, "has_more": True}


async def test_revoked_key_is_refused_at_once(administrator: AsyncClient) -> None:
    created = (await administrator.post(_KEYS, json=_NEW)).json()

    revoked = await administrator.delete(f"{_KEYS}/{created['id']}")

    again = await administrator.delete(f"{_KEYS}/{created['id']}")
    answer = await administrator.get(_ITEMS, headers={"X-API-Key": created["key"]})
    unknown = await administrator.get(_ITEMS, headers={"X-API-Key": new_key()})
    assert revoked.status_code == 204
    assert again.json()["code"] == "api_key_not_found"
    assert answer.status_code == 401
    assert answer.json()["detail"] == unknown.json()["detail"]


async def _made_by(client: AsyncClient, maker: str) -> dict[str, Any]:
    new = {"name": "made", "scopes": ["items:read", "keys:admin"]}
    response = await client.post(_KEYS, json=new, headers={"X-API-Key": maker})
    assert response.status_code == 201
    made: dict[str, Any] = response.json()
    return made


async def test_key_names_the_key_that_made_it(administrator: AsyncClient) -> None:
    child = await _made_by(administrator, administrator.headers["X-API-Key"])

    listed = (await administrator.get(_KEYS)).json()["items"]

    makers = {key["id"]: key["created_by"] for key in listed}
    assert makers[makers[child["id"]]] is None


async def test_revoked_key_takes_along_all_that_descend_from_it(
    administrator: AsyncClient, keys: Keys
) -> None:
    root = await keys.make("items:read", "keys:admin")
    child = await _made_by(administrator, root)
    grandchild = await _made_by(administrator, child["key"])
    great_grandchild = await _made_by(administrator, grandchild["key"])
    sibling = await _made_by(administrator, root)

    await administrator.delete(f"{_KEYS}/{child['id']}")

    descendants = [child["key"], grandchild["key"], great_grandchild["key"]]
    others = [root, sibling["key"], administrator.headers["X-API-Key"]]
    statuses = [
        (await administrator.get(_ITEMS, headers={"X-API-Key": key})).status_code
        for key in [*descendants, *others]
    ]
    assert statuses == [401] * 3 + [200] * 3


async def test_key_that_is_revoked_meanwhile_makes_no_key(app: FastAPI, keys: Keys) -> None:
    maker = await keys.make("items:read", "keys:admin")
    settings = app.state.settings
    async with app.state.database.transaction() as connection:
        service = ApiKeyService(connection, settings)
        caller = await service.authenticate([maker])
        await service.revoke(caller.id)

        with pytest.raises(InvalidApiKeyError):
            await service.create(ApiKeyCreate.model_validate(_NEW), caller)


async def test_no_key_outlives_its_maker_when_both_happen_at_once(real_database_url: str) -> None:
    settings = Settings(database_url=real_database_url)
    app = create_app(settings)
    async with LifespanManager(app), client_of(app) as client:
        root = await Keys(app).make("items:read", "keys:admin")
        child = await _made_by(client, root)

        await asyncio.gather(
            *(client.post(_KEYS, json=_NEW, headers={"X-API-Key": child["key"]}) for _ in range(6)),
            client.delete(f"{_KEYS}/{child['id']}", headers={"X-API-Key": root}),
        )

        listed = (await client.get(_KEYS, headers={"X-API-Key": root})).json()["items"]
    active = [key for key in listed if key["is_active"]]
    assert [key["prefix"] for key in active] == [prefix_of(root)]


async def test_last_use_is_recorded_by_reads_too(app: FastAPI, client: AsyncClient) -> None:
    key = client.headers["X-API-Key"]
    before = await _row(app, key)

    await client.get(_ITEMS)

    after = await _row(app, key)
    assert before.last_used_at is None
    assert after.last_used_at is not None
    assert after.updated_at == before.updated_at


async def test_last_use_is_recorded_once_a_minute(app: FastAPI, client: AsyncClient) -> None:
    await client.get(_ITEMS)
    first: datetime = (await _row(app, client.headers["X-API-Key"])).last_used_at

    await client.get(_ITEMS)

    assert (await _row(app, client.headers["X-API-Key"])).last_used_at == first


async def test_read_succeeds_when_its_use_cannot_be_recorded(
    app: FastAPI, client: AsyncClient
) -> None:
    async with app.state.database.transaction() as connection:
        await connection.execute(
            sa.text("ALTER TABLE api_keys RENAME COLUMN updated_at TO changed_at")
        )

    assert (await client.get(_ITEMS)).status_code == 200


Run = Callable[..., str]


@pytest.fixture
def run(real_database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that returns what a command prints, on a database of its own."""
    settings = Settings(database_url=real_database_url)
    monkeypatch.setattr(api_keys, "get_settings", lambda: settings)

    def run(*arguments: str, exit_code: int = 0) -> str:
        result = CliRunner().invoke(cli, ["api-keys", *arguments])
        assert result.exit_code == exit_code, result.output
        return result.output

    return run


def test_operator_makes_lists_and_revokes_a_key(run: Run) -> None:
    made = run("create", "--name=reports", "--scope=keys:admin", "--expires-in-days=3")
    [prefix] = re.findall(r"Key, shown only now: (ak\w{10})_", made)

    listed = run("list")
    run("revoke", prefix)

    assert prefix in listed
    assert "active" in listed
    assert "keys:admin" in listed
    assert "revoked" in run("list")
    assert "no API key" in run("revoke", prefix, exit_code=1)


def test_key_of_the_operator_may_do_everything_with_items_unless_told(run: Run) -> None:
    [key_id] = re.findall(r"Id: (\S+)", run("create"))

    assert "does not expire  made by the operator  items:read,items:write  unnamed" in run("list")
    assert run("revoke", key_id) == "Revoked.\n"


@pytest.mark.parametrize("option", ["--scope=items:delete", "--expires-in-days=0", "--name="])
def test_unfit_key_is_not_made(run: Run, option: str) -> None:
    run("create", option, exit_code=2)

    assert run("list") == ""


def test_fault_is_told_as_it_is(run: Run) -> None:
    output = run("create", "--name=a\0b", exit_code=2)

    assert "name: must not contain NUL" in output


@pytest.mark.parametrize("arguments", [("create",), ("list",), ("revoke", "ak0123456789")])
def test_database_without_tables_is_told_of_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    settings = Settings(database_url=SecretStr(f"sqlite+aiosqlite:///{tmp_path}/app.db"))
    monkeypatch.setattr(api_keys, "get_settings", lambda: settings)

    result = CliRunner().invoke(cli, ["api-keys", *arguments])

    assert result.exit_code == 1
    assert result.output == "no such table: api_keys\n"
