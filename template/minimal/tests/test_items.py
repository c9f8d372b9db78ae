"""Items and probes, over HTTP."""

from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from app import __version__
from tests import client_of

ITEMS = "/api/v1/items"


async def create(client: AsyncClient, title: str, description: str | None = None) -> dict[str, Any]:
    response = await client.post(ITEMS, json={"title": title, "description": description})
    assert response.status_code == 201
    item: dict[str, Any] = response.json()
    return item


async def list_page(client: AsyncClient, **query: str) -> dict[str, Any]:
    response = await client.get(ITEMS, params=query)
    assert response.status_code == 200
    page: dict[str, Any] = response.json()
    return page


async def list_titles(client: AsyncClient, **query: str) -> list[str]:
    return [item["title"] for item in (await list_page(client, **query))["items"]]


async def test_health_has_the_version(client: AsyncClient) -> None:
    response = await client.get("/api/v1/health")

    assert response.json() == {"status": "ok", "version": __version__}


async def test_readiness_depends_on_nothing(client: AsyncClient) -> None:
    response = await client.get("/api/v1/ready")

    assert response.json() == {"status": "ready", "checks": {}}


async def test_created_item_is_found_at_its_location(client: AsyncClient) -> None:
    created = await client.post(ITEMS, json={"title": "Milk", "description": "2 l"})

    found = await client.get(created.headers["Location"])

    assert created.status_code == 201
    assert found.json() == created.json()


async def test_location_has_the_prefix_of_a_proxy(app: FastAPI, client: AsyncClient) -> None:
    async with client_of(app, root_path="/shop", headers=client.headers) as prefixed:
        response = await prefixed.post(f"/shop{ITEMS}", json={"title": "Milk"})

    assert response.headers["Location"] == f"/shop{ITEMS}/{response.json()['id']}"


async def test_page_says_how_much_is_left(client: AsyncClient) -> None:
    for title in "abc":
        await create(client, title)

    page = await list_page(client, skip="1", limit="1", sort="title")

    assert [item["title"] for item in page.pop("items")] == ["b"]
    assert page.pop("next_cursor")
    assert page == {"total": 3, "total_is_exact": True, "skip": 1, "limit": 1, "has_more": True}


async def test_last_page_has_no_cursor(client: AsyncClient) -> None:
    await create(client, "Milk")

    page = await list_page(client, limit="1")

    assert page["has_more"] is False
    assert page["next_cursor"] is None


@pytest.mark.parametrize("sort", ["title", "-title", "created_at", "-created_at", "-updated_at"])
async def test_cursors_lead_through_every_item_once(client: AsyncClient, sort: str) -> None:
    for title in "abacd":
        await create(client, title)
    pages = [await list_page(client, sort=sort, limit="2")]

    while cursor := pages[-1]["next_cursor"]:
        pages.append(await list_page(client, sort=sort, limit="2", cursor=cursor))

    everything = await list_page(client, sort=sort)
    assert [item for page in pages for item in page["items"]] == everything["items"]
    assert [len(page["items"]) for page in pages] == [2, 2, 1]


async def test_page_after_a_cursor_ignores_what_came_or_went_before_it(client: AsyncClient) -> None:
    items = [await create(client, title) for title in "bcd"]
    page = await list_page(client, sort="title", limit="2")
    await create(client, "a")
    await client.delete(f"{ITEMS}/{items[1]['id']}")

    assert await list_titles(client, sort="title", cursor=page["next_cursor"]) == ["d"]


async def test_cursor_is_valid_for_its_own_query_only(client: AsyncClient) -> None:
    for title in "ab":
        await create(client, title)
    cursor = (await list_page(client, sort="title", limit="1"))["next_cursor"]

    queries = [
        {"sort": "-title", "cursor": cursor},
        {"sort": "title", "q": "a", "cursor": cursor},
        {"sort": "title", "created_after": "2020-01-01", "cursor": cursor},
        {"sort": "title", "skip": "1", "cursor": cursor},
        {"sort": "title", "cursor": cursor[:-1]},
        {"sort": "title", "cursor": ""},
        {"cursor": "null"},
    ]
    responses = [await client.get(ITEMS, params=query) for query in queries]

    assert {response.status_code for response in responses} == {422}
    assert {response.json()["errors"][0]["field"] for response in responses} == {"cursor"}


async def test_newest_item_comes_first(client: AsyncClient) -> None:
    await create(client, "old")
    await create(client, "new")

    assert await list_titles(client) == ["new", "old"]
    assert await list_titles(client, sort="created_at") == ["old", "new"]


async def test_search_ignores_case_in_title_and_description(client: AsyncClient) -> None:
    await create(client, "MILK")
    await create(client, "Bread", "with milk")
    await create(client, "Salt")

    assert await list_titles(client, q="Milk", sort="title") == ["Bread", "MILK"]


async def test_search_does_not_match_across_fields(client: AsyncClient) -> None:
    await create(client, "Milk", "2 l")

    assert await list_titles(client, q="k\n2") == []


async def test_items_are_filtered_by_their_time(client: AsyncClient) -> None:
    first = await create(client, "first")
    second = await create(client, "second")

    assert await list_titles(client, created_after=first["created_at"]) == ["second"]
    assert await list_titles(client, created_before=second["created_at"]) == ["first"]


async def test_time_without_a_zone_is_utc(client: AsyncClient) -> None:
    item = await create(client, "Milk")

    assert await list_titles(client, created_before=item["created_at"].removesuffix("Z")) == []


async def test_put_removes_a_description_that_is_left_out(client: AsyncClient) -> None:
    item = await create(client, "Milk", "2 l")

    response = await client.put(f"{ITEMS}/{item['id']}", json={"title": "Bread"})

    updated_at = response.json()["updated_at"]
    assert response.json() == {
        **item,
        "title": "Bread",
        "description": None,
        "updated_at": updated_at,
    }
    assert updated_at > item["updated_at"]


async def test_patch_keeps_a_title_that_is_left_out(client: AsyncClient) -> None:
    item = await create(client, "Milk", "2 l")

    response = await client.patch(f"{ITEMS}/{item['id']}", json={"description": None})

    assert response.json()["title"] == "Milk"
    assert response.json()["description"] is None


@pytest.mark.parametrize("change", [{}, {"title": "Milk"}, {"description": "2 l"}])
async def test_patch_to_the_same_values_is_no_update(
    client: AsyncClient, change: dict[str, str]
) -> None:
    item = await create(client, "Milk", "2 l")

    response = await client.patch(f"{ITEMS}/{item['id']}", json=change)

    assert response.json() == item


async def test_deleted_item_is_not_found(client: AsyncClient) -> None:
    item = await create(client, "Milk")

    response = await client.delete(f"{ITEMS}/{item['id']}")

    assert response.status_code == 204
    assert (await client.get(f"{ITEMS}/{item['id']}")).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_unknown_item_is_not_found(client: AsyncClient, method: str) -> None:
    body = {"title": "Milk"} if method in {"PUT", "PATCH"} else None

    response = await client.request(method, f"{ITEMS}/{uuid4()}", json=body)

    assert response.status_code == 404
    assert response.json()["code"] == "item_not_found"
