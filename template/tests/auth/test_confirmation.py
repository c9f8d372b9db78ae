"""Sensitive changes: an access token alone, which may be stolen, is not enough."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from app.core.settings import Settings
from tests.support.accounts import PASSWORD, Account, Outbox, new_account

ME = "/api/v1/users/me"
WRONG = "not the password of anyone"


@pytest.fixture
async def old(app: FastAPI) -> Account:
    """A user whose login is too long ago."""
    account = await new_account(app, "old@example.com")
    await account.logged_in_long_ago()
    return account


async def test_account_is_closed_after_a_recent_login(alice: Account) -> None:
    assert (await alice.sends("DELETE", ME)).status_code == 204


async def test_account_is_not_closed_by_an_old_login_alone(old: Account) -> None:
    response = await old.sends("DELETE", ME)

    assert (response.status_code, response.json()["code"]) == (403, "reauthentication_required")
    assert await old.is_let_in()


async def test_refresh_is_no_login(anonymous: AsyncClient, old: Account) -> None:
    body = {"refresh_token": old.refresh_token}
    pair = (await anonymous.post("/api/v1/auth/refresh", json=body)).json()
    old.access_token = pair["access_token"]

    assert (await old.sends("DELETE", ME)).status_code == 403


async def test_account_is_closed_with_the_password(old: Account) -> None:
    assert (await old.sends("DELETE", ME, json={"password": PASSWORD})).status_code == 204


@pytest.mark.parametrize("is_recent", [True, False])
async def test_wrong_password_confirms_nothing(alice: Account, *, is_recent: bool) -> None:
    if not is_recent:
        await alice.logged_in_long_ago()

    response = await alice.sends("DELETE", ME, json={"password": WRONG})

    assert (response.status_code, response.json()["code"]) == (400, "wrong_password")
    assert await alice.is_let_in()


@pytest.mark.parametrize("body", [{"password": None}, {}])
async def test_body_without_a_password_confirms_nothing(old: Account, body: dict[str, Any]) -> None:
    assert (await old.sends("DELETE", ME, json=body)).status_code == 403


async def test_account_without_a_password_takes_a_new_login(app: FastAPI) -> None:
    dora = await new_account(app, "dora@example.com", hashed_password=None)
    await dora.logged_in_long_ago()

    response = await dora.sends("DELETE", ME, json={"password": PASSWORD})

    assert (response.status_code, response.json()["code"]) == (400, "wrong_password")


@pytest.mark.parametrize("change", [{"email": "other@example.com"}, {"role": "admin"}])
async def test_administrator_changes_addresses_and_roles_after_a_recent_login_only(
    admin: Account, bob: Account, change: dict[str, str]
) -> None:
    path = f"/api/v1/users/{bob.id}"
    await admin.logged_in_long_ago()

    refused = await admin.sends("PATCH", path, json=change)
    allowed = await admin.sends("PATCH", path, json={"full_name": "Bob"})

    assert (refused.status_code, refused.json()["code"]) == (403, "reauthentication_required")
    assert allowed.status_code == 200


async def test_owner_is_told_that_the_account_was_closed(
    outbox: Outbox, alice: Account, bob: Account, admin: Account
) -> None:
    await alice.sends("DELETE", ME)
    await admin.sends("DELETE", f"/api/v1/users/{bob.id}")

    subject = "Your account was closed"
    assert outbox.sent == [(alice.email, subject), (bob.email, subject)]


async def test_nobody_is_told_of_what_did_not_happen(outbox: Outbox, old: Account) -> None:
    await old.sends("DELETE", ME)

    assert outbox.sent == []


class TestLimits:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(rate_limit_auth="2/minute")

    async def test_guesses_of_the_password_are_limited(self, alice: Account) -> None:
        responses = [await alice.sends("DELETE", ME, json={"password": WRONG}) for _ in range(3)]

        assert [response.status_code for response in responses] == [400, 400, 429]
