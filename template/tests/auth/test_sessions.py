"""Sessions: refreshed, replayed, ended."""

import json
from base64 import urlsafe_b64decode
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from fastapi import FastAPI
from httpx import AsyncClient, Response
from pydantic import ValidationError
from sqlmodel import col

from app.core.security.tokens import TokenType
from app.core.settings import Settings
from app.models import LoginSession, User
from app.services.auth import sessions
from tests.support.accounts import PASSWORD, Account, logged_in, new_account

REFRESH = "/api/v1/auth/refresh"
LOGOUT = "/api/v1/auth/logout"


async def refresh(client: AsyncClient, token: str) -> Response:
    return await client.post(REFRESH, json={"refresh_token": token})


async def is_let_in(client: AsyncClient, access_token: str) -> bool:
    headers = {"Authorization": f"Bearer {access_token}"}
    return (await client.get("/api/v1/users/me", headers=headers)).status_code == 200


async def change(app: FastAPI, statement: sa.Update) -> None:
    async with app.state.database.transaction() as connection:
        await connection.execute(statement)


async def stored(app: FastAPI, table: Any) -> str:
    async with app.state.database.reading() as connection:
        return str((await connection.execute(sa.select(table))).all())


# ── Refresh ──────────────────────────────────────────────────────────────────────────────────────


async def test_refresh_gives_a_new_pair(anonymous: AsyncClient, alice: Account) -> None:
    response = await refresh(anonymous, alice.refresh_token)

    pair = response.json()
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert pair["refresh_token"] != alice.refresh_token
    assert await is_let_in(anonymous, pair["access_token"])
    assert (await refresh(anonymous, pair["refresh_token"])).status_code == 200


async def test_access_token_holds_after_a_refresh(anonymous: AsyncClient, alice: Account) -> None:
    await refresh(anonymous, alice.refresh_token)

    assert await alice.is_let_in()


async def test_replayed_refresh_token_is_refused(anonymous: AsyncClient, alice: Account) -> None:
    await refresh(anonymous, alice.refresh_token)

    response = await refresh(anonymous, alice.refresh_token)

    assert response.status_code == 401
    assert response.json()["code"] == "invalid_token"
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


async def test_replayed_refresh_token_ends_the_session(
    anonymous: AsyncClient, alice: Account
) -> None:
    pair = (await refresh(anonymous, alice.refresh_token)).json()

    await refresh(anonymous, alice.refresh_token)

    assert not await is_let_in(anonymous, pair["access_token"])
    assert (await refresh(anonymous, pair["refresh_token"])).status_code == 401


async def test_replay_is_logged_as_a_security_event(anonymous: AsyncClient, alice: Account) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("info"))
    await refresh(anonymous, alice.refresh_token)

    with structlog.testing.capture_logs() as events:
        await refresh(anonymous, alice.refresh_token)

    (event,) = [event for event in events if event["event"] == "refresh_token_replayed"]
    assert event["log_level"] == "warning"
    assert event["user_id"] == str(alice.id)
    assert alice.refresh_token not in str(events)


async def test_replay_in_an_old_session_leaves_the_new_one_alone(
    app: FastAPI, anonymous: AsyncClient, alice: Account
) -> None:
    again = await logged_in(app, alice.id, alice.email)

    response = await refresh(anonymous, alice.refresh_token)

    assert response.status_code == 401
    assert await again.is_let_in()
    assert (await refresh(anonymous, again.refresh_token)).status_code == 200


async def test_refresh_does_not_make_a_session_longer(
    app: FastAPI, anonymous: AsyncClient, alice: Account
) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=1)
    await change(app, sa.update(LoginSession).values(expires_at=soon))

    pair = (await refresh(anonymous, alice.refresh_token)).json()

    claims = app.state.tokens.read(pair["refresh_token"], TokenType.REFRESH)
    assert claims.subject == alice.id
    async with app.state.database.reading() as connection:
        ends = await connection.scalar(sa.select(col(LoginSession.expires_at)))
    assert ends == soon


async def test_expired_session_is_not_refreshed(
    app: FastAPI, anonymous: AsyncClient, alice: Account
) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    await change(app, sa.update(LoginSession).values(expires_at=past))

    assert (await refresh(anonymous, alice.refresh_token)).status_code == 401
    assert not await alice.is_let_in()


async def test_inactive_user_is_let_in_no_more(
    app: FastAPI, anonymous: AsyncClient, alice: Account
) -> None:
    # By hand, in the database, without ending any session.
    await change(app, sa.update(User).values(is_active=False))

    assert not await alice.is_let_in()
    assert (await refresh(anonymous, alice.refresh_token)).status_code == 401


async def test_rolled_back_refresh_leaves_the_old_token_usable(
    app: FastAPI, anonymous: AsyncClient, alice: Account
) -> None:
    claims = app.state.tokens.read(alice.refresh_token, TokenType.REFRESH)
    transaction = app.state.database.transaction()
    renewed = await sessions.renew(await transaction.__aenter__(), claims)
    with suppress(RuntimeError):
        await transaction.__aexit__(RuntimeError, RuntimeError(), None)

    assert renewed is not None
    assert (await refresh(anonymous, alice.refresh_token)).status_code == 200


async def test_nothing_that_opens_a_session_is_stored(app: FastAPI, alice: Account) -> None:
    claims = app.state.tokens.read(alice.refresh_token, TokenType.REFRESH)

    rows = await stored(app, LoginSession)

    assert str(claims.session_id) in rows
    assert str(claims.token_id) not in rows
    assert alice.refresh_token.split(".")[2] not in rows


async def test_closed_account_begins_no_session(app: FastAPI, alice: Account) -> None:
    await alice.sends("DELETE", "/api/v1/users/me")

    async with app.state.database.transaction() as connection:
        assert await sessions.begin(connection, alice.id, timedelta(days=1)) is None


# ── Logout ───────────────────────────────────────────────────────────────────────────────────────


async def test_logout_ends_the_session_at_once(anonymous: AsyncClient, alice: Account) -> None:
    response = await alice.sends("POST", LOGOUT)

    assert response.status_code == 204
    assert not await alice.is_let_in()
    assert (await refresh(anonymous, alice.refresh_token)).status_code == 401


async def test_logout_leaves_others_alone(alice: Account, bob: Account) -> None:
    await alice.sends("POST", LOGOUT)

    assert await bob.is_let_in()


async def test_session_of_one_user_does_not_serve_another(app: FastAPI, alice: Account) -> None:
    mallory = await new_account(app, "mallory@example.com")
    sid = str(app.state.tokens.read(alice.access_token, TokenType.ACCESS).session_id)
    mixed = app.state.tokens.issue(TokenType.ACCESS, mallory.id, timedelta(minutes=1), sid=sid)

    assert not await is_let_in(mallory.client(), mixed)


# ── Purge ────────────────────────────────────────────────────────────────────────────────────────


async def test_purge_deletes_expired_sessions_only(
    app: FastAPI, alice: Account, bob: Account
) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    of_bob = col(LoginSession.user_id) == bob.id
    await change(app, sa.update(LoginSession).where(of_bob).values(expires_at=past))

    async with app.state.database.transaction() as connection:
        count = await sessions.purge(connection)

    assert count == 1
    assert await alice.is_let_in()


# ── Lifetimes ────────────────────────────────────────────────────────────────────────────────────


async def test_lifetimes_are_settable(app: FastAPI, anonymous: AsyncClient, alice: Account) -> None:
    app.state.settings = Settings(access_token_expire_minutes=5, refresh_token_expire_days=30)

    form = {"username": alice.email, "password": PASSWORD}
    pair = (await anonymous.post("/api/v1/auth/login", data=form)).json()

    assert pair["expires_in"] == lifetime_of(pair["access_token"]) == 5 * 60
    assert lifetime_of(pair["refresh_token"]) == pytest.approx(30 * 24 * 60 * 60, abs=2)


def lifetime_of(token: str) -> int:
    """Return how many seconds the token says that it holds."""
    claims = json.loads(urlsafe_b64decode(token.split(".")[1] + "=="))
    lifetime: int = claims["exp"] - claims["iat"]
    return lifetime


@pytest.mark.parametrize("name", ["ACCESS_TOKEN_EXPIRE_MINUTES", "REFRESH_TOKEN_EXPIRE_DAYS"])
@pytest.mark.parametrize("value", ["0", "-1", "inf", "9999999999"])
def test_lifetime_that_no_calendar_has_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ValidationError, match=name.lower()):
        Settings()
