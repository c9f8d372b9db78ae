"""What happens at once, over several connections."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from httpx import AsyncClient, Response
from pydantic import SecretStr

from app.core.security.passwords import hash_password
from app.core.settings import Settings
from app.main import create_app
from app.models import Role
from app.services.auth import accounts
from tests.support.accounts import PASSWORD, Account, Outbox, logged_in, new_account
from tests.support.clients import client_of

AT_ONCE = 8
NEXT = "another horse and its battery"


@pytest.fixture
async def app(real_database_url: str) -> AsyncIterator[FastAPI]:
    settings = Settings(database_url=SecretStr(real_database_url), rate_limit_enabled=False)
    app = create_app(settings)
    async with LifespanManager(app):
        yield app


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[AsyncClient]:
    async with client_of(app) as client:
        yield client


async def at_once(request: Callable[[], Awaitable[Response]]) -> list[Response]:
    return list(await asyncio.gather(*(request() for _ in range(AT_ONCE))))


def counted(responses: list[Response]) -> dict[int, int]:
    return dict(Counter(response.status_code for response in responses))


async def test_of_several_sign_ups_one_succeeds(anonymous: AsyncClient) -> None:
    body = {"email": "carol@example.com", "password": PASSWORD}

    responses = await at_once(lambda: anonymous.post("/api/v1/auth/sign-up", json=body))

    assert counted(responses) == {201: 1, 409: AT_ONCE - 1}


async def test_of_several_logins_one_session_is_left(
    anonymous: AsyncClient, alice: Account
) -> None:
    form = {"username": alice.email, "password": PASSWORD}

    responses = await at_once(lambda: anonymous.post("/api/v1/auth/login", data=form))

    tokens = [response.json()["access_token"] for response in responses]
    let_in = [
        await anonymous.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"})
        for token in tokens
    ]
    assert counted(responses) == {200: AT_ONCE}
    assert counted(let_in) == {200: 1, 401: AT_ONCE - 1}


@pytest.mark.parametrize(("limit", "left"), [(3, 3), (0, AT_ONCE + 1)])
async def test_of_several_logins_as_many_sessions_are_left_as_may_be(
    app: FastAPI, anonymous: AsyncClient, alice: Account, limit: int, left: int
) -> None:
    app.state.settings = app.state.settings.model_copy(update={"sessions_per_user": limit})
    form = {"username": alice.email, "password": PASSWORD}

    responses = await at_once(lambda: anonymous.post("/api/v1/auth/login", data=form))

    tokens = [alice.access_token, *(response.json()["access_token"] for response in responses)]
    let_in = [
        await anonymous.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"})
        for token in tokens
    ]
    assert counted(responses) == {200: AT_ONCE}
    assert counted(let_in)[200] == left


async def test_of_several_refreshes_within_the_grace_all_succeed(
    app: FastAPI, anonymous: AsyncClient, alice: Account
) -> None:
    app.state.settings = app.state.settings.model_copy(update={"refresh_grace_seconds": 30})
    body = {"refresh_token": alice.refresh_token}

    responses = await at_once(lambda: anonymous.post("/api/v1/auth/refresh", json=body))

    tokens = {response.json()["refresh_token"] for response in responses}
    assert counted(responses) == {200: AT_ONCE}
    assert len(tokens) == AT_ONCE
    again = await asyncio.gather(
        *(anonymous.post("/api/v1/auth/refresh", json={"refresh_token": one}) for one in tokens)
    )
    assert counted(list(again)) == {200: AT_ONCE}


async def test_of_several_refreshes_one_succeeds(anonymous: AsyncClient, alice: Account) -> None:
    body = {"refresh_token": alice.refresh_token}

    responses = await at_once(lambda: anonymous.post("/api/v1/auth/refresh", json=body))

    assert counted(responses) == {200: 1, 401: AT_ONCE - 1}
    assert not await alice.is_let_in()


async def test_of_several_resets_one_succeeds(
    anonymous: AsyncClient, app: FastAPI, alice: Account
) -> None:
    outbox = Outbox(app.state.settings)
    app.state.mailer = outbox
    await anonymous.post("/api/v1/auth/forgot-password", json={"email": alice.email})
    body = {"token": outbox.last_token, "new_password": NEXT}

    responses = await at_once(lambda: anonymous.post("/api/v1/auth/reset-password", json=body))

    assert counted(responses) == {204: 1, 400: AT_ONCE - 1}


async def test_of_several_changes_of_the_password_one_succeeds(alice: Account) -> None:
    numbers = iter(range(AT_ONCE))

    responses = await at_once(
        lambda: alice.sends(
            "POST",
            "/api/v1/users/me/password",
            json={"current_password": PASSWORD, "new_password": f"another horse {next(numbers)}"},
        )
    )

    assert counted(responses) == {204: 1, 400: AT_ONCE - 1}


async def test_of_several_confirmations_one_succeeds(anonymous: AsyncClient, app: FastAPI) -> None:
    outbox = Outbox(app.state.settings)
    app.state.mailer = outbox
    new = {"email": "carol@example.com", "password": PASSWORD}
    await anonymous.post("/api/v1/auth/sign-up", json=new)
    body = {"token": outbox.last_token}

    responses = await at_once(lambda: anonymous.post("/api/v1/auth/verify-email", json=body))

    assert counted(responses) == {204: 1, 400: AT_ONCE - 1}


@pytest.mark.parametrize("what", ["login", "sign-up", "reset", "change"])
async def test_no_connection_is_held_while_a_password_is_hashed(
    app: FastAPI,
    anonymous: AsyncClient,
    alice: Account,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    outbox = Outbox(app.state.settings)
    app.state.mailer = outbox
    await anonymous.post("/api/v1/auth/forgot-password", json={"email": alice.email})
    pool = app.state.database._engine.pool  # noqa: SLF001
    held: list[int] = []

    def noting(hashing: Any) -> Any:
        async def hash_noting(*arguments: Any) -> Any:
            held.append(pool.checkedout())
            return await hashing(*arguments)

        return hash_noting

    for name in ("hash_password", "verify_password"):
        hashing = noting(getattr(accounts, name))
        monkeypatch.setattr(accounts, name, hashing)

    if what == "login":
        form = {"username": alice.email, "password": PASSWORD}
        response = await anonymous.post("/api/v1/auth/login", data=form)
    elif what == "sign-up":
        new = {"email": "carol@example.com", "password": PASSWORD}
        response = await anonymous.post("/api/v1/auth/sign-up", json=new)
    elif what == "reset":
        body = {"token": outbox.last_token, "new_password": NEXT}
        response = await anonymous.post("/api/v1/auth/reset-password", json=body)
    else:
        body = {"current_password": PASSWORD, "new_password": NEXT}
        response = await alice.sends("POST", "/api/v1/users/me/password", json=body)

    assert response.is_success
    assert set(held) == {0}


async def test_session_that_ends_meanwhile_changes_no_password(
    app: FastAPI, anonymous: AsyncClient, alice: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hash_after_another_login(password: str, settings: Settings) -> str:
        await logged_in(app, alice.id, alice.email)
        return await hash_password(password, settings)

    monkeypatch.setattr(accounts, "hash_password", hash_after_another_login)
    body = {"current_password": PASSWORD, "new_password": NEXT}

    response = await alice.sends("POST", "/api/v1/users/me/password", json=body)

    form = {"username": alice.email, "password": PASSWORD}
    assert response.status_code == 401
    assert (await anonymous.post("/api/v1/auth/login", data=form)).status_code == 200


async def test_administrators_who_leave_at_once_leave_one(app: FastAPI) -> None:
    admins = [
        await new_account(app, f"admin-{number}@example.com", role=Role.ADMIN)
        for number in range(AT_ONCE)
    ]

    responses = await asyncio.gather(
        *(admin.sends("DELETE", "/api/v1/users/me") for admin in admins)
    )

    assert counted(list(responses)) == {204: AT_ONCE - 1, 409: 1}


async def test_replay_ends_the_session_after_a_restart(
    real_database_url: str, anonymous: AsyncClient, alice: Account
) -> None:
    body = {"refresh_token": alice.refresh_token}
    await anonymous.post("/api/v1/auth/refresh", json=body)
    settings = Settings(database_url=SecretStr(real_database_url))
    restarted = create_app(settings)
    async with LifespanManager(restarted), client_of(restarted) as client:
        response = await client.post("/api/v1/auth/refresh", json=body)

    assert response.status_code == 401
    assert not await alice.is_let_in()
