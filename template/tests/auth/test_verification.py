"""Addresses that are not confirmed: another e-mail, what they are refused, when they are purged."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from app.core.settings import Environment
from app.models import Role
from app.services.auth import accounts
from tests.support.accounts import PASSWORD, Account, Outbox, logged_in, new_account

SIGN_UP = "/api/v1/auth/sign-up"
VERIFY = "/api/v1/auth/verify-email"
RESEND = "/api/v1/auth/verify-email/resend"
NEW = {"email": "carol@example.com", "password": PASSWORD}


# ── Asking for another e-mail ────────────────────────────────────────────────────────────────────


async def test_another_token_is_sent_on_request(
    anonymous: AsyncClient, outbox: Outbox, alice: Account
) -> None:
    response = await alice.sends("POST", RESEND)

    assert response.status_code == 202
    assert outbox.sent == [(alice.email, "Confirm your e-mail address")]
    body = {"token": outbox.last_token}
    assert (await anonymous.post(VERIFY, json=body)).status_code == 204


async def test_nothing_is_sent_to_an_address_that_is_confirmed(
    app: FastAPI, outbox: Outbox
) -> None:
    dora = await new_account(app, "dora@example.com", is_verified=True)

    response = await dora.sends("POST", RESEND)

    assert response.status_code == 202
    assert outbox.sent == []


async def test_new_address_is_sent_a_token_and_the_old_one_is_told(
    outbox: Outbox, alice: Account, admin: Account
) -> None:
    change = {"email": "other@example.com"}
    await admin.sends("PATCH", f"/api/v1/users/{alice.id}", json=change)

    assert outbox.sent == [
        (alice.email, "The e-mail address of your account was changed"),
        ("other@example.com", "Confirm your e-mail address"),
    ]


# ── What needs a confirmed address ───────────────────────────────────────────────────────────────


async def test_confirmed_address_is_not_needed_by_default(alice: Account) -> None:
    assert (await alice.sends("GET", "/api/v1/items")).status_code == 200


async def test_items_need_a_confirmed_address_where_it_is_required(
    app: FastAPI, anonymous: AsyncClient, outbox: Outbox, alice: Account
) -> None:
    required = {"require_verified_email": True}
    app.state.settings = app.state.settings.model_copy(update=required)
    refused = await alice.sends("GET", "/api/v1/items")
    await alice.sends("POST", RESEND)
    await anonymous.post(VERIFY, json={"token": outbox.last_token})

    response = await alice.sends("GET", "/api/v1/items")

    assert (refused.status_code, refused.json()["code"]) == (403, "email_not_verified")
    assert response.status_code == 200


async def test_own_account_needs_no_confirmed_address(app: FastAPI, alice: Account) -> None:
    required = {"require_verified_email": True}
    app.state.settings = app.state.settings.model_copy(update=required)

    assert await alice.is_let_in()


# ── Accounts that nobody confirms ────────────────────────────────────────────────────────────────


async def purge(app: FastAPI, **settings: Any) -> int:
    async with app.state.database.transaction() as connection:
        changed = app.state.settings.model_copy(update=settings)
        return await accounts.purge_unverified(connection, changed)


async def made_long_ago(app: FastAPI, email: str, **columns: Any) -> Account:
    past = datetime.now(UTC) - timedelta(days=31)
    account = await new_account(app, email, created_at=past, **columns)
    await account.sends("POST", "/api/v1/auth/logout")
    return account


async def test_account_that_nobody_confirms_is_purged_after_a_while(
    app: FastAPI, anonymous: AsyncClient
) -> None:
    await made_long_ago(app, NEW["email"])

    assert await purge(app) == 1
    assert (await anonymous.post(SIGN_UP, json=NEW)).status_code == 201


async def test_closed_account_that_nobody_confirmed_is_purged_at_once(
    app: FastAPI, alice: Account
) -> None:
    await alice.sends("DELETE", "/api/v1/users/me")

    assert await purge(app) == 1


async def test_accounts_in_use_are_not_purged(app: FastAPI, alice: Account) -> None:
    await made_long_ago(app, "verified@example.com", is_verified=True)
    await made_long_ago(app, "admin@example.com", role=Role.ADMIN)
    with_a_session = await made_long_ago(app, "session@example.com")
    await logged_in(app, with_a_session.id, with_a_session.email)

    assert await purge(app) == 0
    assert await alice.is_let_in()


@pytest.mark.parametrize(
    "change", [{"unverified_account_days": 0}, {"environment": Environment.PRODUCTION}]
)
async def test_nothing_is_purged_where_nobody_can_confirm_or_it_is_turned_off(
    app: FastAPI, change: dict[str, Any]
) -> None:
    await made_long_ago(app, NEW["email"])

    assert await purge(app, **change) == 0
