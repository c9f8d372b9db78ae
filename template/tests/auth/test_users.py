"""Users: oneself, and for administrators everybody."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from app.models import Role
from tests.support.accounts import Account, logged_in, new_account

ME = "/api/v1/users/me"
USERS = "/api/v1/users"
NOBODY = "00000000-0000-4000-8000-000000000000"
CHOSEN = {
    "role": "admin",
    "is_active": False,
    "is_verified": True,
    "email": "mallory@example.com",
    "id": "00000000-0000-4000-8000-000000000000",
    "hashed_password": "x",
    "created_at": "2000-01-01T00:00:00Z",
}


# ── Oneself ──────────────────────────────────────────────────────────────────────────────────────


async def test_read_oneself(client: AsyncClient, alice: Account) -> None:
    response = await client.get(ME)

    user = response.json()
    assert response.status_code == 200
    assert (user["id"], user["email"], user["role"]) == (str(alice.id), alice.email, "user")


async def test_change_ones_profile(client: AsyncClient) -> None:
    response = await client.patch(ME, json={"full_name": "Alice Liddell"})

    assert response.status_code == 200
    assert response.json()["full_name"] == "Alice Liddell"
    assert (await client.get(ME)).json() == response.json()


async def test_change_of_nothing_changes_nothing(client: AsyncClient) -> None:
    before = (await client.get(ME)).json()

    response = await client.patch(ME, json={})

    assert response.json() == before


@pytest.mark.parametrize("field", CHOSEN)
async def test_user_cannot_change_what_is_not_theirs_to_change(
    client: AsyncClient, field: str
) -> None:
    before = (await client.get(ME)).json()

    response = await client.patch(ME, json={field: CHOSEN[field]})

    assert response.status_code == 200
    assert response.json() == before


async def test_closed_account_is_let_in_no_more(anonymous: AsyncClient, alice: Account) -> None:
    response = await alice.sends("DELETE", ME)

    refresh = {"refresh_token": alice.refresh_token}
    refreshed = await anonymous.post("/api/v1/auth/refresh", json=refresh)
    assert response.status_code == 204
    assert not await alice.is_let_in()
    assert refreshed.status_code == 401


async def test_closed_account_stays_in_the_database(alice: Account, admin: Account) -> None:
    await alice.sends("DELETE", ME)

    response = await admin.sends("GET", f"{USERS}/{alice.id}")

    assert response.status_code == 200
    assert response.json()["is_active"] is False


# ── Administrators ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", USERS),
        ("GET", f"{USERS}/{NOBODY}"),
        ("PATCH", f"{USERS}/{NOBODY}"),
        ("DELETE", f"{USERS}/{NOBODY}"),
    ],
)
async def test_only_administrators_see_to_others(alice: Account, method: str, path: str) -> None:
    response = await alice.sends(method, path, json={} if method == "PATCH" else None)

    assert response.status_code == 403
    assert response.json()["code"] == "forbidden"


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_not_even_to_themselves_by_id(alice: Account, method: str) -> None:
    body = {"role": "admin"} if method == "PATCH" else None

    response = await alice.sends(method, f"{USERS}/{alice.id}", json=body)

    assert response.status_code == 403


@pytest.mark.usefixtures("alice")
async def test_list_users(bob: Account, admin: Account) -> None:
    response = await admin.sends("GET", USERS, params={"limit": 2})

    page = response.json()
    assert response.status_code == 200
    assert [user["email"] for user in page["items"]] == [admin.email, bob.email]
    assert (page["total"], page["skip"], page["limit"], page["has_more"]) == (3, 0, 2, True)


@pytest.mark.usefixtures("bob")
async def test_list_the_rest_of_the_users(admin: Account) -> None:
    page = (await admin.sends("GET", USERS, params={"skip": 1})).json()

    assert len(page["items"]) == 1
    assert page["has_more"] is False


@pytest.mark.parametrize(
    "query", [{"skip": -1}, {"skip": 2**31}, {"limit": 0}, {"limit": 101}, {"order": "email"}]
)
async def test_page_out_of_bounds_is_refused(admin: Account, query: dict[str, Any]) -> None:
    assert (await admin.sends("GET", USERS, params=query)).status_code == 422


async def test_administrator_changes_a_user(alice: Account, admin: Account) -> None:
    change = {
        "email": "Alice.Liddell@example.com",
        "full_name": "Alice Liddell",
        "is_verified": True,
        "role": "admin",
    }

    response = await admin.sends("PATCH", f"{USERS}/{alice.id}", json=change)

    expected = change | {"email": "alice.liddell@example.com"}
    assert response.status_code == 200
    assert expected.items() <= response.json().items()
    assert (await alice.sends("GET", USERS)).status_code == 200


async def test_new_address_has_to_be_confirmed(alice: Account, admin: Account) -> None:
    path = f"{USERS}/{alice.id}"
    await admin.sends("PATCH", path, json={"is_verified": True})

    same = await admin.sends("PATCH", path, json={"email": alice.email})
    other = await admin.sends("PATCH", path, json={"email": "other@example.com"})

    assert same.json()["is_verified"] is True
    assert other.json()["is_verified"] is False


@pytest.mark.parametrize(
    "change",
    [
        {"role": "owner"},
        {"role": None},
        {"email": None},
        {"email": "nothing"},
        {"is_active": None},
        {"full_name": "x" * 256},
        {"full_name": "\0"},
    ],
)
async def test_change_out_of_bounds_is_refused(
    alice: Account, admin: Account, change: dict[str, Any]
) -> None:
    response = await admin.sends("PATCH", f"{USERS}/{alice.id}", json=change)

    assert response.status_code == 422


async def test_address_of_another_is_refused(alice: Account, bob: Account, admin: Account) -> None:
    response = await admin.sends("PATCH", f"{USERS}/{alice.id}", json={"email": bob.email})

    assert response.status_code == 409
    assert response.json()["code"] == "email_taken"


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_unknown_user_is_not_found(admin: Account, method: str) -> None:
    body = {"full_name": "x"} if method == "PATCH" else None

    response = await admin.sends(method, f"{USERS}/{NOBODY}", json=body)

    assert response.status_code == 404
    assert response.json()["code"] == "user_not_found"


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_deactivated_user_is_logged_out(
    anonymous: AsyncClient, alice: Account, bob: Account, admin: Account, method: str
) -> None:
    body = {"is_active": False} if method == "PATCH" else None

    await admin.sends(method, f"{USERS}/{alice.id}", json=body)

    refresh = {"refresh_token": alice.refresh_token}
    refreshed = await anonymous.post("/api/v1/auth/refresh", json=refresh)
    assert not await alice.is_let_in()
    assert refreshed.status_code == 401
    assert await bob.is_let_in()


async def test_reactivated_user_may_log_in_but_old_tokens_stay_dead(
    app: FastAPI, alice: Account, admin: Account
) -> None:
    await admin.sends("DELETE", f"{USERS}/{alice.id}")

    await admin.sends("PATCH", f"{USERS}/{alice.id}", json={"is_active": True})

    assert not await alice.is_let_in()
    assert await (await logged_in(app, alice.id, alice.email)).is_let_in()


# ── The last administrator ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "me", None),
        ("DELETE", "{id}", None),
        ("PATCH", "{id}", {"role": "user"}),
        ("PATCH", "{id}", {"is_active": False}),
    ],
)
async def test_last_administrator_stays_one(
    admin: Account, method: str, path: str, body: dict[str, Any] | None
) -> None:
    response = await admin.sends(method, f"{USERS}/{path.format(id=admin.id)}", json=body)

    me = await admin.sends("GET", ME)
    assert response.status_code == 409
    assert response.json()["code"] == "last_admin"
    assert (me.json()["role"], me.json()["is_active"]) == ("admin", True)


async def test_closed_account_of_an_administrator_does_not_count(
    app: FastAPI, admin: Account
) -> None:
    await new_account(app, "second@example.com", role=Role.ADMIN)
    third = await new_account(app, "third@example.com", role=Role.ADMIN)
    users = (await admin.sends("GET", USERS)).json()["items"]
    for user in users:
        if user["email"] != admin.email:
            await admin.sends("DELETE", f"{USERS}/{user['id']}")

    response = await admin.sends("PATCH", f"{USERS}/{admin.id}", json={"role": "user"})

    assert not await third.is_let_in()
    assert response.status_code == 409


async def test_administrator_may_go_when_another_stays(app: FastAPI, admin: Account) -> None:
    await new_account(app, "second@example.com", role=Role.ADMIN)

    response = await admin.sends("DELETE", ME)

    assert response.status_code == 204
