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
from app.services.auth.sessions import MAX_LISTED, Client
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
    connection = await transaction.__aenter__()
    renewed = await sessions.renew(connection, app.state.settings, claims, Client())
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
        assert await sessions.begin(connection, app.state.settings, alice.id, Client()) is None


# ── Refreshed twice at once ──────────────────────────────────────────────────────────────────────


@pytest.fixture
def grace(app: FastAPI) -> None:
    """Let a used refresh token be used again for a while."""
    app.state.settings = app.state.settings.model_copy(update={"refresh_grace_seconds": 30})


async def let_grace_pass(app: FastAPI) -> None:
    await change(
        app, sa.update(LoginSession).values(rotated_at=datetime.now(UTC) - timedelta(seconds=31))
    )


@pytest.mark.usefixtures("grace")
async def test_token_used_again_within_the_grace_gives_another_pair(
    anonymous: AsyncClient, alice: Account
) -> None:
    first = (await refresh(anonymous, alice.refresh_token)).json()

    response = await refresh(anonymous, alice.refresh_token)

    second = response.json()
    assert response.status_code == 200
    assert second["refresh_token"] != first["refresh_token"]
    for pair in (first, second):
        assert await is_let_in(anonymous, pair["access_token"])


@pytest.mark.usefixtures("grace")
@pytest.mark.parametrize("tab", [0, 1])
async def test_either_pair_goes_on_after_the_grace(
    app: FastAPI, anonymous: AsyncClient, alice: Account, tab: int
) -> None:
    pairs = [(await refresh(anonymous, alice.refresh_token)).json() for _ in range(2)]
    await let_grace_pass(app)

    assert (await refresh(anonymous, pairs[tab]["refresh_token"])).status_code == 200


@pytest.mark.usefixtures("grace")
async def test_token_used_again_after_the_grace_ends_the_session(
    app: FastAPI, anonymous: AsyncClient, alice: Account
) -> None:
    pair = (await refresh(anonymous, alice.refresh_token)).json()
    await let_grace_pass(app)

    assert (await refresh(anonymous, alice.refresh_token)).status_code == 401
    assert not await is_let_in(anonymous, pair["access_token"])
    assert (await refresh(anonymous, pair["refresh_token"])).status_code == 401


@pytest.mark.usefixtures("grace")
async def test_use_within_the_grace_does_not_prolong_it(
    app: FastAPI, anonymous: AsyncClient, alice: Account
) -> None:
    await refresh(anonymous, alice.refresh_token)
    rotated_at = sa.select(col(LoginSession.rotated_at))
    async with app.state.database.reading() as connection:
        before = await connection.scalar(rotated_at)

    await refresh(anonymous, alice.refresh_token)

    async with app.state.database.reading() as connection:
        assert await connection.scalar(rotated_at) == before


@pytest.mark.usefixtures("grace")
async def test_theft_within_the_grace_is_found_out_by_the_next_refresh(
    app: FastAPI, anonymous: AsyncClient, alice: Account
) -> None:
    owner, thief = [(await refresh(anonymous, alice.refresh_token)).json() for _ in range(2)]
    await let_grace_pass(app)
    await refresh(anonymous, thief["refresh_token"])
    await let_grace_pass(app)

    assert (await refresh(anonymous, owner["refresh_token"])).status_code == 401
    assert not await is_let_in(anonymous, thief["access_token"])


@pytest.mark.usefixtures("grace")
async def test_token_before_the_last_has_no_grace(anonymous: AsyncClient, alice: Account) -> None:
    pair = (await refresh(anonymous, alice.refresh_token)).json()
    await refresh(anonymous, pair["refresh_token"])

    assert (await refresh(anonymous, alice.refresh_token)).status_code == 401
    assert not await alice.is_let_in()


@pytest.mark.usefixtures("grace")
async def test_grace_revives_no_session_that_has_ended(
    anonymous: AsyncClient, alice: Account
) -> None:
    await refresh(anonymous, alice.refresh_token)
    await alice.sends("POST", LOGOUT)

    assert (await refresh(anonymous, alice.refresh_token)).status_code == 401


@pytest.mark.parametrize(
    ("name", "value"), [("refresh_grace_seconds", 61), ("sessions_per_user", -1)]
)
def test_bounds_of_sessions(name: str, value: int) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate({name: value})


# ── Several sessions of one user ─────────────────────────────────────────────────────────────────

SESSIONS = "/api/v1/users/me/sessions"


def allow(app: FastAPI, sessions_per_user: int) -> None:
    changed = {"sessions_per_user": sessions_per_user}
    app.state.settings = app.state.settings.model_copy(update=changed)


async def log_in_again(account: Account, times: int = 1) -> list[Account]:
    return [await logged_in(account.app, account.id, account.email) for _ in range(times)]


@pytest.mark.parametrize(
    ("limit", "active"),
    [(1, [False, False, False, True]), (2, [False, False, True, True]), (0, [True] * 4)],
)
async def test_login_ends_the_oldest_sessions_beyond_the_limit(
    app: FastAPI, alice: Account, limit: int, active: list[bool]
) -> None:
    allow(app, limit)

    logins = [alice, *await log_in_again(alice, 3)]

    assert [await login.is_let_in() for login in logins] == active


async def test_session_that_was_refreshed_is_as_old_as_its_login(
    app: FastAPI, anonymous: AsyncClient, alice: Account
) -> None:
    allow(app, 2)
    [second] = await log_in_again(alice)
    await refresh(anonymous, alice.refresh_token)

    [third] = await log_in_again(alice)

    active = [await login.is_let_in() for login in (alice, second, third)]
    assert active == [False, True, True]


async def test_lower_limit_holds_from_the_next_login_on(app: FastAPI, alice: Account) -> None:
    allow(app, 0)
    await log_in_again(alice, 3)
    allow(app, 2)

    await log_in_again(alice)

    assert len((await (await log_in_again(alice))[0].sends("GET", SESSIONS)).json()) == 2


async def test_replay_ends_its_own_session_only(
    app: FastAPI, anonymous: AsyncClient, alice: Account
) -> None:
    allow(app, 0)
    [other] = await log_in_again(alice)
    await refresh(anonymous, alice.refresh_token)

    await refresh(anonymous, alice.refresh_token)

    assert not await alice.is_let_in()
    assert await other.is_let_in()


async def test_sessions_are_listed_with_their_clients(
    app: FastAPI, anonymous: AsyncClient, alice: Account
) -> None:
    allow(app, 0)
    form = {"username": alice.email, "password": PASSWORD}
    agent = b"Firefox\tof \x80Alice" + b"!" * 300
    headers = [(b"User-Agent", agent)]
    pair = (await anonymous.post("/api/v1/auth/login", data=form, headers=headers)).json()
    phone = Account(app, alice.id, alice.email, pair["access_token"], pair["refresh_token"])

    response = await phone.sends("GET", SESSIONS)

    newest, oldest = response.json()
    assert response.status_code == 200
    assert set(newest) == {
        "id",
        "created_at",
        "last_used_at",
        "expires_at",
        "user_agent",
        "address",
        "is_current",
    }
    assert newest["user_agent"] == ("Firefoxof Alice" + "!" * 300)[:255]
    assert newest["address"] == "127.0.0.1"
    assert (newest["is_current"], oldest["is_current"]) == (True, False)
    assert oldest["user_agent"] is None


async def test_refresh_is_the_last_use(
    app: FastAPI, anonymous: AsyncClient, alice: Account
) -> None:
    allow(app, 0)
    await log_in_again(alice)

    await anonymous.post(
        REFRESH, json={"refresh_token": alice.refresh_token}, headers={"User-Agent": "of the tram"}
    )

    newest, _ = (await alice.sends("GET", SESSIONS)).json()
    assert newest["is_current"]
    assert newest["user_agent"] == "of the tram"
    assert newest["last_used_at"] > newest["created_at"]


async def test_sessions_of_others_and_expired_ones_are_not_listed(
    app: FastAPI, alice: Account, bob: Account
) -> None:
    allow(app, 0)
    [current] = await log_in_again(alice)
    expired = app.state.tokens.read(alice.access_token, TokenType.ACCESS).session_id
    past = datetime.now(UTC) - timedelta(seconds=1)
    is_it = col(LoginSession.id) == expired
    await change(app, sa.update(LoginSession).where(is_it).values(expires_at=past))

    [listed] = (await current.sends("GET", SESSIONS)).json()

    assert listed["is_current"]
    assert len((await bob.sends("GET", SESSIONS)).json()) == 1


async def test_list_has_an_end(app: FastAPI, alice: Account) -> None:
    allow(app, 0)
    await log_in_again(alice, MAX_LISTED)

    assert len((await alice.sends("GET", SESSIONS)).json()) == MAX_LISTED


async def test_one_session_is_ended_at_once(
    app: FastAPI, anonymous: AsyncClient, alice: Account
) -> None:
    allow(app, 0)
    [phone] = await log_in_again(alice)
    lost = app.state.tokens.read(phone.access_token, TokenType.ACCESS).session_id

    response = await alice.sends("DELETE", f"{SESSIONS}/{lost}")

    assert response.status_code == 204
    assert not await phone.is_let_in()
    assert (await refresh(anonymous, phone.refresh_token)).status_code == 401
    assert await alice.is_let_in()
    assert (await alice.sends("DELETE", f"{SESSIONS}/{lost}")).status_code == 404


async def test_another_users_session_looks_missing(
    app: FastAPI, alice: Account, bob: Account
) -> None:
    theirs = app.state.tokens.read(bob.access_token, TokenType.ACCESS).session_id

    response = await alice.sends("DELETE", f"{SESSIONS}/{theirs}")

    assert (response.status_code, response.json()["code"]) == (404, "session_not_found")
    assert await bob.is_let_in()


async def test_all_other_sessions_are_ended_at_once(
    app: FastAPI, alice: Account, bob: Account
) -> None:
    allow(app, 0)
    others = await log_in_again(alice, 3)

    response = await alice.sends("DELETE", SESSIONS)

    assert response.status_code == 204
    assert [await other.is_let_in() for other in others] == [False] * 3
    assert await alice.is_let_in()
    assert await bob.is_let_in()


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
