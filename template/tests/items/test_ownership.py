"""Items belong to who made them; administrators see all."""

from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient

from tests.support.accounts import Account

ITEMS = "/api/v1/items"


async def test_item_belongs_to_who_made_it(alice: Account) -> None:
    item = await alice.creates_item("Milk")

    assert item["owner_id"] == str(alice.id)


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("GET", None),
        ("PUT", {"title": "Mine"}),
        ("PATCH", {"title": "Mine"}),
        ("DELETE", None),
    ],
)
async def test_another_users_item_looks_missing(
    client: AsyncClient, bob: Account, method: str, body: dict[str, Any] | None
) -> None:
    item = await bob.creates_item("secret")

    response = await client.request(method, f"{ITEMS}/{item['id']}", json=body)

    missing = await client.request(method, f"{ITEMS}/{uuid4()}", json=body)
    assert response.status_code == missing.status_code == 404
    assert response.json()["code"] == missing.json()["code"] == "item_not_found"
    assert (await bob.sends("GET", f"{ITEMS}/{item['id']}")).json() == item


@pytest.mark.parametrize("query", ["", "?q=secret", "?sort=title", "?skip=1", "?limit=1"])
async def test_list_holds_ones_own_items_only(
    client: AsyncClient, alice: Account, bob: Account, query: str
) -> None:
    for title in ("secret 1", "secret 2"):
        await bob.creates_item(title)
        await alice.creates_item(title)

    page = (await client.get(f"{ITEMS}{query}")).json()

    assert page["total"] == 2
    assert {item["owner_id"] for item in page["items"]} == {str(alice.id)}


async def test_past_the_end_others_are_not_counted(client: AsyncClient, bob: Account) -> None:
    await bob.creates_item("secret")

    page = (await client.get(f"{ITEMS}?skip=5")).json()

    assert page["total"] == 0


async def test_administrator_sees_all_items(alice: Account, bob: Account, admin: Account) -> None:
    for account in (alice, bob):
        await account.creates_item("Milk")

    page = (await admin.sends("GET", ITEMS)).json()

    assert {item["owner_id"] for item in page["items"]} == {str(alice.id), str(bob.id)}


async def test_administrator_changes_items_and_leaves_their_owner(
    alice: Account, admin: Account
) -> None:
    item = await alice.creates_item("Milk")

    response = await admin.sends("PATCH", f"{ITEMS}/{item['id']}", json={"title": "Bread"})

    assert response.status_code == 200
    assert (response.json()["title"], response.json()["owner_id"]) == ("Bread", str(alice.id))


async def test_administrator_deletes_items(alice: Account, admin: Account) -> None:
    item = await alice.creates_item("Milk")

    response = await admin.sends("DELETE", f"{ITEMS}/{item['id']}")

    assert response.status_code == 204
    assert (await alice.sends("GET", f"{ITEMS}/{item['id']}")).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_nobody_chooses_the_owner(
    client: AsyncClient, alice: Account, bob: Account, method: str
) -> None:
    item = await alice.creates_item("Milk")
    path = ITEMS if method == "POST" else f"{ITEMS}/{item['id']}"
    body = {"title": "x", "owner_id": str(bob.id), "id": str(uuid4()), "is_active": False}

    response = await client.request(method, path, json=body)

    assert response.json()["owner_id"] == str(alice.id)
    assert response.json()["id"] != body["id"]
    assert (await client.get(f"{ITEMS}/{response.json()['id']}")).status_code == 200
