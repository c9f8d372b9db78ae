"""Pages of items, by cursor."""

import base64
from typing import Any

import pytest
from httpx import AsyncClient, Response

URL = "/api/v1/items"
SORTS = ["created_at", "-created_at", "updated_at", "-updated_at", "title", "-title"]


async def create(client: AsyncClient, *titles: str) -> None:
    for title in titles:
        response = await client.post(URL, json={"title": title})
        assert response.status_code == 201, response.text


async def page(client: AsyncClient, **query: Any) -> dict[str, Any]:
    response = await client.get(URL, params=query)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def walk(client: AsyncClient, **query: Any) -> list[dict[str, Any]]:
    """Follow the cursors from the first page to the last."""
    found = await page(client, **query)
    pages = [found]
    while found["next_cursor"] is not None:
        found = await page(client, **query, cursor=found["next_cursor"])
        pages.append(found)
    return pages


def assert_cursor_is_refused(response: Response) -> None:
    assert response.status_code == 422, response.text
    assert response.json()["code"] == "validation_error"
    assert [error["field"] for error in response.json()["errors"]] == ["cursor"]


@pytest.mark.parametrize("sort", SORTS)
async def test_cursors_visit_every_item_once_and_in_order(client: AsyncClient, sort: str) -> None:
    await create(client, *"bacab", "ä", "🥛", "x" * 255)
    everything = (await page(client, sort=sort))["items"]

    pages = await walk(client, sort=sort, limit=3)

    assert [len(each["items"]) for each in pages] == [3, 3, 2]
    assert [item for each in pages for item in each["items"]] == everything


async def test_pages_by_cursor_count_all_items(client: AsyncClient) -> None:
    await create(client, *"abcde")

    pages = await walk(client, limit=2)

    assert [each["total"] for each in pages] == [5, 5, 5]
    assert [each["skip"] for each in pages] == [0, 0, 0]
    assert [each["has_more"] for each in pages] == [True, True, False]


async def test_cursor_keeps_the_filters(client: AsyncClient) -> None:
    await create(client, "milk 1", "bread", "milk 2", "milk 3")
    query = {"q": "milk", "sort": "title", "created_after": "2001-01-01"}

    pages = await walk(client, **query, limit=2)

    titles = [item["title"] for each in pages for item in each["items"]]
    assert titles == ["milk 1", "milk 2", "milk 3"]
    assert [each["total"] for each in pages] == [3, 3]


async def test_new_items_do_not_move_the_pages_that_follow(client: AsyncClient) -> None:
    await create(client, "b", "d", "f")
    first = await page(client, sort="title", limit=2)

    await create(client, "a", "c")
    second = await page(client, sort="title", limit=2, cursor=first["next_cursor"])

    assert [item["title"] for item in second["items"]] == ["f"]


async def test_page_may_be_of_another_length_than_the_one_before(client: AsyncClient) -> None:
    await create(client, *"abcde")
    first = await page(client, sort="title", limit=1)

    second = await page(client, sort="title", limit=3, cursor=first["next_cursor"])

    assert [item["title"] for item in second["items"]] == ["b", "c", "d"]


async def test_items_that_are_deleted_do_not_end_the_list(client: AsyncClient) -> None:
    await create(client, *"abc")
    first = await page(client, sort="title", limit=1)

    await client.delete(f"{URL}/{first['items'][0]['id']}")
    second = await page(client, sort="title", cursor=first["next_cursor"])

    assert [item["title"] for item in second["items"]] == ["b", "c"]


@pytest.mark.parametrize(
    "other",
    [
        {"sort": "-title"},
        {"sort": "created_at"},
        {"q": "b"},
        {"created_after": "2001-01-01"},
        {"created_before": "2901-01-01"},
    ],
)
async def test_cursor_of_another_list_is_refused(
    client: AsyncClient, other: dict[str, str]
) -> None:
    await create(client, "a", "b")
    cursor = (await page(client, sort="title", limit=1))["next_cursor"]

    response = await client.get(URL, params={"sort": "title", **other, "cursor": cursor})

    assert_cursor_is_refused(response)


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "a" * 22, "a" * 32, "a" * 4096, "%", "ä", "🥛", " ", "MTIzNDU2Nzg5MDEyMzQ1Njc4"],
)
async def test_text_that_is_no_cursor_is_refused(client: AsyncClient, cursor: str) -> None:
    assert_cursor_is_refused(await client.get(URL, params={"cursor": cursor}))


@pytest.mark.parametrize("at", [0, 10, 25, -1])
async def test_cursor_that_was_changed_is_refused(client: AsyncClient, at: int) -> None:
    await create(client, "a", "b")
    cursor = (await page(client, limit=1))["next_cursor"]
    changed = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    changed[at] ^= 1

    response = await client.get(
        URL, params={"cursor": base64.urlsafe_b64encode(changed).decode().rstrip("=")}
    )

    assert_cursor_is_refused(response)


@pytest.mark.parametrize("skip", [0, 1])
async def test_cursor_and_skip_exclude_each_other(client: AsyncClient, skip: int) -> None:
    await create(client, "a", "b")
    cursor = (await page(client, limit=1))["next_cursor"]

    response = await client.get(URL, params={"cursor": cursor, "skip": skip})

    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["skip"]
