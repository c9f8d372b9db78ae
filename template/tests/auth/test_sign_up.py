"""Making an account, and confirming its address."""

from typing import Any

import pytest
from httpx import AsyncClient

from tests.support.accounts import PASSWORD, Account, Outbox

SIGN_UP = "/api/v1/auth/sign-up"
VERIFY = "/api/v1/auth/verify-email"
NEW = {"email": "carol@example.com", "password": PASSWORD, "full_name": "Carol"}


async def test_sign_up(anonymous: AsyncClient) -> None:
    response = await anonymous.post(SIGN_UP, json=NEW)

    user = response.json()
    assert response.status_code == 201
    assert set(user) == {
        "id",
        "email",
        "full_name",
        "role",
        "is_active",
        "is_verified",
        "created_at",
        "updated_at",
    }
    assert user["email"] == "carol@example.com"
    assert user["full_name"] == "Carol"
    assert (user["role"], user["is_active"], user["is_verified"]) == ("user", True, False)


async def test_new_user_can_log_in(anonymous: AsyncClient) -> None:
    await anonymous.post(SIGN_UP, json=NEW)

    form = {"username": NEW["email"], "password": PASSWORD}
    response = await anonymous.post("/api/v1/auth/login", data=form)

    assert response.status_code == 200


@pytest.mark.parametrize("email", ["carol@example.com", "CAROL@Example.COM"])
async def test_address_is_taken_whichever_way_it_is_written(
    anonymous: AsyncClient, email: str
) -> None:
    await anonymous.post(SIGN_UP, json=NEW)

    response = await anonymous.post(SIGN_UP, json=NEW | {"email": email})

    assert response.status_code == 409
    assert response.json()["code"] == "email_taken"


async def test_address_of_a_closed_account_stays_taken(
    anonymous: AsyncClient, alice: Account
) -> None:
    await alice.sends("DELETE", "/api/v1/users/me")

    response = await anonymous.post(SIGN_UP, json=NEW | {"email": alice.email})

    assert response.status_code == 409


@pytest.mark.parametrize(
    "given",
    [
        {"role": "admin"},
        {"is_active": False},
        {"is_verified": True},
        {"id": "00000000-0000-4000-8000-000000000000"},
        {"hashed_password": "x"},
        {"created_at": "2000-01-01T00:00:00Z"},
    ],
    ids=lambda given: next(iter(given)),
)
async def test_nobody_chooses_what_is_not_theirs_to_choose(
    anonymous: AsyncClient, given: dict[str, Any]
) -> None:
    response = await anonymous.post(SIGN_UP, json=NEW | given)

    user = response.json()
    assert response.status_code == 201
    assert (user["role"], user["is_active"], user["is_verified"]) == ("user", True, False)
    assert given.items().isdisjoint(user.items())


@pytest.mark.parametrize(
    "email",
    [
        "",
        "carol",
        "@example.com",
        "carol@",
        "carol@example.com\n",
        "carol@example.com\0",
        "carol@example.com, bob@example.com",
        "Carol <carol@example.com>",
        # The Kelvin sign is `k` when case is ignored.
        "\u212aarol@example.com",
        f"{'c' * 250}@example.com",
        None,
        ["carol@example.com"],
    ],
)
async def test_what_is_no_address_is_refused(anonymous: AsyncClient, email: object) -> None:
    response = await anonymous.post(SIGN_UP, json=NEW | {"email": email})

    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["email"]


async def test_international_domain_is_kept_in_ascii(anonymous: AsyncClient) -> None:
    response = await anonymous.post(SIGN_UP, json=NEW | {"email": "carol@Bücher.example.com"})

    assert response.json()["email"] == "carol@xn--bcher-kva.example.com"


# ── Confirming the address ───────────────────────────────────────────────────────────────────────


async def test_token_from_the_e_mail_confirms_the_address(
    anonymous: AsyncClient, admin: Account, outbox: Outbox
) -> None:
    user = (await anonymous.post(SIGN_UP, json=NEW)).json()

    response = await anonymous.post(VERIFY, json={"token": outbox.last_token})

    found = await admin.sends("GET", f"/api/v1/users/{user['id']}")
    assert response.status_code == 204
    assert found.json()["is_verified"] is True


async def test_token_confirms_once(anonymous: AsyncClient, outbox: Outbox) -> None:
    await anonymous.post(SIGN_UP, json=NEW)
    await anonymous.post(VERIFY, json={"token": outbox.last_token})

    response = await anonymous.post(VERIFY, json={"token": outbox.last_token})

    assert response.status_code == 400
    assert response.json()["code"] == "invalid_token"


async def test_token_confirms_no_other_address(
    anonymous: AsyncClient, admin: Account, outbox: Outbox
) -> None:
    user = (await anonymous.post(SIGN_UP, json=NEW)).json()
    token = outbox.last_token
    change = {"email": "other@example.com"}
    await admin.sends("PATCH", f"/api/v1/users/{user['id']}", json=change)

    response = await anonymous.post(VERIFY, json={"token": token})

    assert response.status_code == 400


async def test_token_of_a_closed_account_confirms_nothing(
    anonymous: AsyncClient, admin: Account, outbox: Outbox
) -> None:
    user = (await anonymous.post(SIGN_UP, json=NEW)).json()
    await admin.sends("DELETE", f"/api/v1/users/{user['id']}")

    response = await anonymous.post(VERIFY, json={"token": outbox.last_token})

    assert response.status_code == 400
