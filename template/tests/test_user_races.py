"""What happens at once, over several connections."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from httpx import AsyncClient, Response
from pydantic import SecretStr

from app.core.settings import Settings
from app.main import create_app
from app.models import Role
from tests.accounts import PASSWORD, Account, Outbox, new_account
from tests.clients import client_of

AT_ONCE = 8


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
    body = {"token": outbox.last_token, "new_password": "another horse and its battery"}

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
