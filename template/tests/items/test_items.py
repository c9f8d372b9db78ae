"""Items over HTTP."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from httpx import AsyncClient, Response

URL = "/api/v1/items"
SORTS = ["created_at", "-created_at", "updated_at", "-updated_at", "title", "-title"]


async def create(client: AsyncClient, title: str = "Milk", **fields: Any) -> dict[str, Any]:
    response = await client.post(URL, json={"title": title, **fields})
    assert response.status_code == 201, response.text
    item: dict[str, Any] = response.json()
    return item


async def create_later(client: AsyncClient, than: dict[str, Any]) -> dict[str, Any]:
    """Create items until the clock has moved on; return the last."""
    while (item := await create(client))["created_at"] == than["created_at"]:
        pass
    return item


async def page(client: AsyncClient, **query: Any) -> dict[str, Any]:
    response = await client.get(URL, params=query)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def titles(client: AsyncClient, **query: Any) -> set[str]:
    return {item["title"] for item in (await page(client, **query))["items"]}


def faulty_fields(response: Response) -> list[str]:
    assert response.status_code == 422, response.text
    return [error["field"] for error in response.json()["errors"]]


# ── Create and read ──────────────────────────────────────────────────────────────────────────────


async def test_created_item_is_found_where_location_says(client: AsyncClient) -> None:
    created = await client.post(URL, json={"title": "Milk", "description": "2 l"})

    found = await client.get(created.headers["Location"])

    assert created.status_code == 201
    assert found.status_code == 200
    assert found.json() == created.json()
    assert found.json()["title"] == "Milk"
    assert found.json()["description"] == "2 l"


async def test_description_may_be_left_out(client: AsyncClient) -> None:
    assert (await create(client))["description"] is None


async def test_times_are_the_same_at_first_and_have_a_zone(client: AsyncClient) -> None:
    item = await create(client)

    created_at = datetime.fromisoformat(item["created_at"])

    assert created_at.utcoffset() == timedelta(0)
    assert datetime.fromisoformat(item["updated_at"]) - created_at < timedelta(seconds=1)


@pytest.mark.parametrize("title", ["x", "ä" * 255, "🥛 milk", " ", "'; DROP TABLE items; --"])
async def test_title_comes_back_as_it_was_sent(client: AsyncClient, title: str) -> None:
    assert (await create(client, title))["title"] == title


async def test_longest_description_is_accepted(client: AsyncClient) -> None:
    assert (await create(client, description="d" * 2000))["description"] == "d" * 2000


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "title"),
        ({"title": None}, "title"),
        ({"title": ""}, "title"),
        ({"title": "x" * 256}, "title"),
        ({"title": 1}, "title"),
        ({"title": ["x"]}, "title"),
        ({"title": "x\0y"}, "title"),
        ({"title": "x", "description": "d" * 2001}, "description"),
        ({"title": "x", "description": "\0"}, "description"),
        ({"title": "x", "description": {}}, "description"),
        ([], "body"),
        ("text", "body"),
    ],
)
async def test_faulty_item_is_refused_with_the_field_named(
    client: AsyncClient, body: Any, field: str
) -> None:
    response = await client.post(URL, json=body)

    assert faulty_fields(response) == [field]


async def test_server_keeps_the_fields_that_are_its_own(client: AsyncClient) -> None:
    chosen: dict[str, Any] = {
        "id": str(uuid4()),
        "created_at": "2001-01-01T00:00:00Z",
        "is_active": False,
    }

    item = await create(client, **chosen, updated_at="2001-01-01T00:00:00Z")
    changed = await client.patch(f"{URL}/{item['id']}", json=chosen)

    assert item["id"] != chosen["id"]
    assert min(item["created_at"], item["updated_at"]) > chosen["created_at"]
    assert "is_active" not in item
    assert changed.status_code == 200
    assert (await client.get(f"{URL}/{item['id']}")).json()["created_at"] == item["created_at"]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_unknown_item_is_not_found(client: AsyncClient, method: str) -> None:
    body = {"title": "x"} if method in {"PUT", "PATCH"} else None

    response = await client.request(method, f"{URL}/{uuid4()}", json=body)

    assert response.status_code == 404
    assert response.json()["code"] == "item_not_found"


@pytest.mark.parametrize(
    "item_id", ["1", "x" * 5000, "00000000-0000-0000-0000-00000000000g", "%00"]
)
async def test_id_that_is_no_uuid_is_refused(client: AsyncClient, item_id: str) -> None:
    response = await client.get(f"{URL}/{item_id}")

    assert faulty_fields(response) == ["item_id"]


# ── Change and delete ────────────────────────────────────────────────────────────────────────────


async def test_replaced_item_loses_the_description_left_out(client: AsyncClient) -> None:
    item = await create(client, "Milk", description="2 l")

    response = await client.put(f"{URL}/{item['id']}", json={"title": "Bread"})

    assert response.status_code == 200
    assert response.json()["title"] == "Bread"
    assert response.json()["description"] is None
    assert response.json() == (await client.get(f"{URL}/{item['id']}")).json()


async def test_replacement_needs_a_title(client: AsyncClient) -> None:
    item = await create(client)

    response = await client.put(f"{URL}/{item['id']}", json={"description": "2 l"})

    assert faulty_fields(response) == ["title"]


async def test_patch_changes_what_is_given_and_leaves_the_rest(client: AsyncClient) -> None:
    item = await create(client, "Milk", description="2 l")

    response = await client.patch(f"{URL}/{item['id']}", json={"title": "Oat milk"})

    assert response.status_code == 200
    assert response.json()["title"] == "Oat milk"
    assert response.json()["description"] == "2 l"
    assert response.json() == (await client.get(f"{URL}/{item['id']}")).json()


async def test_patch_with_null_removes_the_description(client: AsyncClient) -> None:
    item = await create(client, "Milk", description="2 l")

    response = await client.patch(f"{URL}/{item['id']}", json={"description": None})

    assert response.json()["title"] == "Milk"
    assert response.json()["description"] is None


async def test_patch_with_nothing_changes_nothing(client: AsyncClient) -> None:
    item = await create(client, "Milk", description="2 l")

    response = await client.patch(f"{URL}/{item['id']}", json={})

    assert response.status_code == 200
    assert response.json() == item


@pytest.mark.parametrize("title", [None, "", "x" * 256, 1])
async def test_patch_refuses_a_faulty_title(client: AsyncClient, title: object) -> None:
    item = await create(client)

    response = await client.patch(f"{URL}/{item['id']}", json={"title": title})

    assert faulty_fields(response) == ["title"]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_change_moves_the_time_of_the_last_change(client: AsyncClient, method: str) -> None:
    item = await create(client)
    await create_later(client, item)

    response = await client.request(method, f"{URL}/{item['id']}", json={"title": "Bread"})

    changed = response.json()
    assert changed["created_at"] == item["created_at"]
    assert moment(changed, "updated_at") > moment(item, "updated_at")


async def test_deleted_item_is_gone(client: AsyncClient) -> None:
    item = await create(client)

    deleted = await client.delete(f"{URL}/{item['id']}")

    assert deleted.status_code == 204
    assert deleted.content == b""
    assert (await client.get(f"{URL}/{item['id']}")).status_code == 404
    assert (await client.put(f"{URL}/{item['id']}", json={"title": "x"})).status_code == 404
    assert (await client.patch(f"{URL}/{item['id']}", json={"title": "x"})).status_code == 404
    assert (await client.delete(f"{URL}/{item['id']}")).status_code == 404
    assert (await page(client))["total"] == 0


# ── List ─────────────────────────────────────────────────────────────────────────────────────────


async def test_empty_list(client: AsyncClient) -> None:
    assert await page(client) == {
        "items": [],
        "total": 0,
        "total_is_exact": True,
        "skip": 0,
        "limit": 50,
        "has_more": False,
        "next_cursor": None,
    }


async def test_list_shows_items_as_they_are_read_one_by_one(client: AsyncClient) -> None:
    item = await create(client, description="2 l")

    assert (await page(client))["items"] == [item]


@pytest.mark.parametrize(
    ("skip", "limit", "length", "has_more"),
    [
        (0, 2, 2, True),
        (2, 2, 2, True),
        (4, 2, 1, False),
        (3, 2, 2, False),
        (5, 2, 0, False),
        (2**31 - 1, 100, 0, False),
        (0, 100, 5, False),
    ],
)
async def test_page(
    client: AsyncClient, skip: int, limit: int, length: int, has_more: bool
) -> None:
    for _ in range(5):
        await create(client)

    found = await page(client, skip=skip, limit=limit)

    assert len(found.pop("items")) == length
    assert (found.pop("next_cursor") is not None) == has_more
    assert found == {
        "total": 5,
        "total_is_exact": True,
        "skip": skip,
        "limit": limit,
        "has_more": has_more,
    }


async def test_pages_together_hold_every_item_once(client: AsyncClient) -> None:
    created = {(await create(client))["id"] for _ in range(5)}

    pages = [await page(client, skip=skip, limit=2) for skip in (0, 2, 4)]

    seen = [item["id"] for each in pages for item in each["items"]]
    assert len(seen) == 5
    assert set(seen) == created


@pytest.mark.parametrize("sort", SORTS)
async def test_sort_breaks_ties_by_id(client: AsyncClient, sort: str) -> None:
    items = [await create(client, title) for title in "bacabcabca"]
    for item in items[3:6]:
        await client.patch(f"{URL}/{item['id']}", json={"description": "changed"})
    items = (await page(client))["items"]

    found = (await page(client, sort=sort))["items"]

    field = sort.removeprefix("-")
    expected = sorted(
        items,
        key=lambda item: (
            item["title"] if field == "title" else moment(item, field),
            UUID(item["id"]),
        ),
        reverse=sort.startswith("-"),
    )
    assert found == expected


async def test_newest_item_comes_first_unless_told_otherwise(client: AsyncClient) -> None:
    first = await create(client)
    last = await create_later(client, first)

    items = (await page(client))["items"]

    assert items[0] == last
    assert items[-1]["created_at"] == first["created_at"]


async def test_search_looks_into_title_and_description(client: AsyncClient) -> None:
    await create(client, "Milk")
    await create(client, "Bread", description="with milk")
    await create(client, "Water", description=None)

    assert await titles(client, q="milk") == {"Milk", "Bread"}
    assert await titles(client, q="ilk") == {"Milk", "Bread"}
    assert await titles(client, q="beer") == set()
    assert (await page(client, q="milk", limit=1))["total"] == 2
    assert (await page(client, q="milk", limit=1))["has_more"]


@pytest.mark.parametrize(
    ("title", "q"), [("Milk", "mILK"), ("Äpfel ÉÑ", "äPFEL éñ"), ("ЖУК", "жук")]
)
async def test_search_ignores_case(client: AsyncClient, title: str, q: str) -> None:
    await create(client, title)
    await create(client, "Something else", description=title.swapcase())

    assert (await page(client, q=q))["total"] == 2


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("%", {"100% juice"}),
        ("_", {"snake_case"}),
        ("\\", {"back\\slash"}),
        ("0%", {"100% juice"}),
        ("k\\s", {"back\\slash"}),
        ("\\%", set()),
        ("'", {"it's"}),
        ("*", set()),
    ],
)
async def test_search_takes_wildcards_literally(
    client: AsyncClient, q: str, found: set[str]
) -> None:
    for title in ("100% juice", "snake_case", "back\\slash", "it's", "plain"):
        await create(client, title)

    assert await titles(client, q=q) == found


async def test_empty_search_finds_everything(client: AsyncClient) -> None:
    await create(client)

    assert (await page(client, q=""))["total"] == 1


async def test_bounds_of_creation_are_exclusive(client: AsyncClient) -> None:
    first = await create(client)
    last = await create_later(client, first)

    after = await page(client, created_after=first["created_at"], limit=100)
    before = await page(client, created_before=last["created_at"], limit=100)
    between = await page(
        client, created_after=first["created_at"], created_before=last["created_at"], limit=100
    )

    assert last in after["items"]
    assert first not in after["items"]
    assert first in before["items"]
    assert last not in before["items"]
    assert first not in between["items"]
    assert last not in between["items"]


@pytest.mark.parametrize("form", ["{:%Y-%m-%dT%H:%M:%S.%f}", "{:%Y-%m-%d %H:%M:%S.%f}Z"])
async def test_time_without_a_zone_is_utc(client: AsyncClient, form: str) -> None:
    item = await create(client)
    created_at = moment(item, "created_at")
    second = timedelta(seconds=1)

    assert (await page(client, created_after=form.format(created_at - second)))["total"] == 1
    assert (await page(client, created_after=form.format(created_at + second)))["total"] == 0


async def test_bounds_may_have_a_zone_of_their_own(client: AsyncClient) -> None:
    item = await create(client)
    local = f"{moment(item, 'created_at') + timedelta(hours=2, seconds=-1):%Y-%m-%dT%H:%M:%S}+02:00"

    assert (await page(client, created_after=local))["total"] == 1
    assert (await page(client, created_before=local))["total"] == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("skip", "-1"),
        ("skip", str(2**31)),
        ("skip", str(2**62)),
        ("skip", "9" * 5000),
        ("skip", "NaN"),
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "ten"),
        ("limit", "1.5"),
        ("limit", ""),
        ("sort", "id"),
        ("sort", "--title"),
        ("sort", "title "),
        ("sort", ""),
        ("q", "\0"),
        ("q", "q" * 256),
        ("created_after", "yesterday"),
        ("created_after", "0"),
        ("created_before", "0.5"),
        ("created_before", "1e3"),
        ("created_before", "20260131"),
        ("created_after", "0001-01-01T00:00:00+14:00"),
        ("created_before", "9999-12-31T23:59:59-14:00"),
        ("created_before", "1e400"),
        ("offset", "1"),
        ("is_active", "false"),
    ],
)
async def test_faulty_query_is_refused_with_the_parameter_named(
    client: AsyncClient, name: str, value: str
) -> None:
    response = await client.get(URL, params={name: value})

    assert faulty_fields(response) == [name]
    if len(value) > 5:
        assert value not in response.text


def moment(item: dict[str, Any], field: str) -> datetime:
    return datetime.fromisoformat(item[field])
