"""Linking identities at providers to an account, and unlinking them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from httpx import AsyncClient, Response
from sqlmodel import col

from app.core.settings import Settings
from app.main import create_app
from app.models import Identity
from tests.support.accounts import PASSWORD, Account, Outbox, logged_in, new_account
from tests.support.oidc_provider import OIDC, Browser, Provider

IDENTITIES = "/api/v1/users/me/identities"


@pytest.fixture
def settings(oidc_settings: Settings) -> Settings:
    return oidc_settings


@pytest.fixture
async def dave(app: FastAPI) -> Account:
    return await new_account(app, "dave@example.com", is_verified=True)


async def begin_link(account: Account, browser: Browser, provider: str = "one") -> str:
    """Ask to link, and return what the provider sends the browser back with."""
    response = await browser.client.post(f"{OIDC}/{provider}/link", headers=account.headers)
    assert response.status_code == 200, response.text
    return await browser.agrees(response.json()["authorization_url"])


async def link(account: Account, browser: Browser, provider: str = "one") -> Response:
    response = await browser.comes_back(await begin_link(account, browser, provider))
    if response.status_code == 200:
        account.access_token = response.json()["access_token"]
    return response


async def identities(account: Account) -> list[dict[str, Any]]:
    response = await account.sends("GET", IDENTITIES)
    assert response.status_code == 200
    found: list[dict[str, Any]] = response.json()
    return found


# ── Linking ──────────────────────────────────────────────────────────────────────────────────────


async def test_linked_identity_logs_in(browser: Browser, dave: Account) -> None:
    response = await link(dave, browser)

    assert response.status_code == 200
    headers = {"Authorization": f"Bearer {(await browser.logs_in()).json()['access_token']}"}
    user = (await browser.client.get("/api/v1/users/me", headers=headers)).json()
    assert user["id"] == str(dave.id)


async def test_linked_identities_are_listed(browser: Browser, dave: Account) -> None:
    assert await identities(dave) == []

    await link(dave, browser)

    [identity] = await identities(dave)
    assert (identity["provider"], identity["subject"]) == ("one", "carol-1")
    assert set(identity) == {"id", "provider", "subject", "created_at"}


async def test_address_at_the_provider_does_not_matter(
    browser: Browser, provider: Provider, dave: Account
) -> None:
    provider.person |= {"email": None, "email_verified": False}

    assert (await link(dave, browser)).status_code == 200


async def test_linking_again_changes_nothing(browser: Browser, dave: Account) -> None:
    await link(dave, browser)
    linked = await identities(dave)

    assert (await link(dave, browser)).status_code == 200
    assert await identities(dave) == linked


async def test_identity_of_somebody_else_stays_theirs(browser: Browser, dave: Account) -> None:
    await browser.logs_in()

    response = await link(dave, browser)

    assert (response.status_code, response.json()["code"]) == (409, "identity_taken")
    assert await identities(dave) == []


async def test_account_without_a_verified_address_links_nothing(
    browser: Browser, alice: Account
) -> None:
    # Whose address it is will set a new password, and must not share the account from then on.
    response = await browser.client.post(f"{OIDC}/one/link", headers=alice.headers)

    assert (response.status_code, response.json()["code"]) == (403, "email_not_verified")


async def test_request_to_link_ends_with_the_session(browser: Browser, dave: Account) -> None:
    callback = await begin_link(dave, browser)
    await dave.sends("POST", "/api/v1/auth/logout")

    response = await browser.comes_back(callback)

    assert (response.status_code, response.json()["code"]) == (400, "invalid_login_state")


async def test_link_is_for_the_browser_that_asked(
    browser: Browser, another_browser: Browser, dave: Account
) -> None:
    callback = await begin_link(dave, browser)

    response = await another_browser.comes_back(callback)

    assert (response.status_code, response.json()["code"]) == (400, "invalid_login_state")
    assert await identities(dave) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{OIDC}/one/link"),
        ("GET", IDENTITIES),
        ("DELETE", f"{IDENTITIES}/5f0c1f38-3f4d-4a55-8d0e-5c4f9b7a1f11"),
    ],
)
async def test_identities_are_for_those_who_are_logged_in(
    anonymous: AsyncClient, method: str, path: str
) -> None:
    assert (await anonymous.request(method, path)).status_code == 401


async def test_unknown_provider_cannot_be_linked(dave: Account) -> None:
    response = await dave.sends("POST", f"{OIDC}/nobody/link")

    assert (response.status_code, response.json()["code"]) == (404, "provider_not_found")


# ── A stolen access token ────────────────────────────────────────────────────────────────────────


async def test_linking_takes_more_than_an_old_login(browser: Browser, dave: Account) -> None:
    await dave.logged_in_long_ago()

    response = await browser.client.post(f"{OIDC}/one/link", headers=dave.headers)

    assert (response.status_code, response.json()["code"]) == (403, "reauthentication_required")


async def test_old_login_links_with_the_password(browser: Browser, dave: Account) -> None:
    await dave.logged_in_long_ago()
    path = f"{OIDC}/one/link"

    wrong, right = [
        await browser.client.post(path, headers=dave.headers, json={"password": password})
        for password in ("not the password of anyone", PASSWORD)
    ]

    assert (wrong.status_code, wrong.json()["code"]) == (400, "wrong_password")
    assert right.status_code == 200


async def test_unlinking_takes_more_than_an_old_login(browser: Browser, dave: Account) -> None:
    await link(dave, browser)
    [identity] = await identities(dave)
    path = f"{IDENTITIES}/{identity['id']}"
    await dave.logged_in_long_ago()

    refused = await dave.sends("DELETE", path)
    response = await dave.sends("DELETE", path, json={"password": PASSWORD})

    assert (refused.status_code, refused.json()["code"]) == (403, "reauthentication_required")
    assert response.status_code == 204


async def test_owner_is_told_of_each_link(browser: Browser, outbox: Outbox, dave: Account) -> None:
    await link(dave, browser)
    [identity] = await identities(dave)
    await dave.sends("DELETE", f"{IDENTITIES}/{identity['id']}")

    assert outbox.sent == [
        (dave.email, "A login was linked to your account"),
        (dave.email, "A login was unlinked from your account"),
    ]
    assert "reset your password" in outbox.messages[0].get_content()


async def test_login_with_a_linked_identity_is_no_news(
    browser: Browser, outbox: Outbox, dave: Account
) -> None:
    await link(dave, browser)
    outbox.messages.clear()

    await browser.logs_in()

    assert outbox.sent == []


async def test_link_by_its_owner_keeps_the_password(
    browser: Browser, anonymous: AsyncClient, dave: Account
) -> None:
    await link(dave, browser)

    form = {"username": dave.email, "password": PASSWORD}
    assert (await anonymous.post("/api/v1/auth/login", data=form)).status_code == 200


async def test_reset_of_the_password_unlinks_every_identity(
    browser: Browser, anonymous: AsyncClient, outbox: Outbox, dave: Account
) -> None:
    await link(dave, browser)
    await anonymous.post("/api/v1/auth/forgot-password", json={"email": dave.email})
    body = {"token": outbox.last_token, "new_password": "another horse and its battery"}

    response = await anonymous.post("/api/v1/auth/reset-password", json=body)

    again = await logged_in(dave.app, dave.id, dave.email)
    assert response.status_code == 204
    assert await identities(again) == []
    assert "no other way to log in is left" in outbox.messages[-1].get_content()


# ── Unlinking ────────────────────────────────────────────────────────────────────────────────────


async def test_unlinked_identity_logs_in_no_more(browser: Browser, dave: Account) -> None:
    await link(dave, browser)
    [identity] = await identities(dave)

    response = await dave.sends("DELETE", f"{IDENTITIES}/{identity['id']}")

    assert response.status_code == 204
    assert await identities(dave) == []
    user = await browser.client.get(
        "/api/v1/users/me",
        headers={"Authorization": f"Bearer {(await browser.logs_in()).json()['access_token']}"},
    )
    assert user.json()["id"] != str(dave.id)


async def test_another_users_identity_looks_missing(browser: Browser, dave: Account) -> None:
    await link(dave, browser)
    [identity] = await identities(dave)
    eve = await new_account(dave.app, "eve@example.com")

    response = await eve.sends("DELETE", f"{IDENTITIES}/{identity['id']}")

    assert (response.status_code, response.json()["code"]) == (404, "identity_not_found")
    assert len(await identities(dave)) == 1


async def carol(browser: Browser) -> Account:
    """Log in the person who has an account by her identity alone."""
    pair = (await browser.logs_in()).json()
    app = browser.app
    async with app.state.database.reading() as connection:
        user_id = await connection.scalar(sa.select(col(Identity.user_id)))
    assert user_id is not None
    return Account(app, user_id, "carol@example.com", pair["access_token"], pair["refresh_token"])


async def test_last_way_in_stays(browser: Browser) -> None:
    person = await carol(browser)
    [identity] = await identities(person)

    response = await person.sends("DELETE", f"{IDENTITIES}/{identity['id']}")

    assert (response.status_code, response.json()["code"]) == (409, "last_way_in")
    assert await identities(person) == [identity]


async def test_one_of_two_ways_in_may_go(browser: Browser) -> None:
    person = await carol(browser)
    await link(person, browser, "other")
    first, _ = await identities(person)

    response = await person.sends("DELETE", f"{IDENTITIES}/{first['id']}")

    assert response.status_code == 204


@pytest.fixture
async def real_app(real_database_url: str, settings: Settings) -> AsyncIterator[FastAPI]:
    """An application with several connections to its database."""
    url = Settings(database_url=real_database_url).database_url
    app = create_app(settings.model_copy(update={"database_url": url}))
    async with LifespanManager(app):
        yield app


async def test_of_two_ways_in_one_stays_when_both_are_unlinked_at_once(real_app: FastAPI) -> None:
    browser = Browser(real_app)
    person = await carol(browser)
    await link(person, browser, "other")
    both = await identities(person)

    responses = await asyncio.gather(
        *(person.sends("DELETE", f"{IDENTITIES}/{identity['id']}") for identity in both)
    )

    assert sorted(response.status_code for response in responses) == [204, 409]
    person = await logged_in(real_app, person.id, person.email)
    assert len(await identities(person)) == 1
