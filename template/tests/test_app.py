"""The service over HTTP."""

from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient

from app import __version__, main


async def create(client: AsyncClient, title: str, description: str | None = None) -> dict[str, Any]:
    response = await client.post("/api/v1/items", json={"title": title, "description": description})
    assert response.status_code == 201
    item: dict[str, Any] = response.json()
    return item


async def titles(client: AsyncClient, **query: str) -> list[str]:
    response = await client.get("/api/v1/items", params=query)
    assert response.status_code == 200
    return [item["title"] for item in response.json()["items"]]


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/api/v1/health", {"status": "ok", "version": __version__}),
        ("/api/v1/ready", {"status": "ready", "checks": {}}),
    ],
)
async def test_probes_are_answered(client: AsyncClient, path: str, answer: object) -> None:
    assert (await client.get(path)).json() == answer


async def test_created_item_is_found_where_location_says(client: AsyncClient) -> None:
    created = await client.post("/api/v1/items", json={"title": "Milk", "description": "2 l"})

    found = await client.get(created.headers["Location"])

    assert created.status_code == 201
    assert found.json() == created.json()


async def test_page_says_what_is_left(client: AsyncClient) -> None:
    for title in "abc":
        await create(client, title)

    response = await client.get("/api/v1/items", params={"limit": 2, "sort": "title"})

    page = response.json()
    assert [item["title"] for item in page.pop("items")] == ["a", "b"]
    assert page == {"total": 3, "skip": 0, "limit": 2, "has_more": True}
    assert await titles(client, skip="2", sort="title") == ["c"]


async def test_newest_item_comes_first(client: AsyncClient) -> None:
    await create(client, "old")
    await create(client, "new")

    assert await titles(client) == ["new", "old"]
    assert await titles(client, sort="created_at") == ["old", "new"]


async def test_search_ignores_case_in_title_and_description(client: AsyncClient) -> None:
    await create(client, "MILK")
    await create(client, "Bread", "with milk")
    await create(client, "Salt")

    assert await titles(client, q="Milk", sort="title") == ["Bread", "MILK"]


async def test_search_does_not_match_across_fields(client: AsyncClient) -> None:
    await create(client, "Milk", "2 l")

    assert await titles(client, q="k\n2") == []


async def test_items_are_filtered_by_their_time(client: AsyncClient) -> None:
    first = await create(client, "first")
    second = await create(client, "second")

    assert await titles(client, created_after=first["created_at"]) == ["second"]
    assert await titles(client, created_before=second["created_at"]) == ["first"]


async def test_time_without_a_zone_is_utc(client: AsyncClient) -> None:
    item = await create(client, "Milk")

    assert await titles(client, created_before=item["created_at"].removesuffix("Z")) == []


async def test_put_removes_what_is_left_out(client: AsyncClient) -> None:
    item = await create(client, "Milk", "2 l")

    response = await client.put(f"/api/v1/items/{item['id']}", json={"title": "Bread"})

    assert response.json() == {
        **item,
        "title": "Bread",
        "description": None,
        "updated_at": response.json()["updated_at"],
    }
    assert response.json()["updated_at"] > item["updated_at"]


async def test_patch_leaves_what_is_left_out(client: AsyncClient) -> None:
    item = await create(client, "Milk", "2 l")

    response = await client.patch(f"/api/v1/items/{item['id']}", json={"description": None})

    assert response.json()["title"] == "Milk"
    assert response.json()["description"] is None


@pytest.mark.parametrize("change", [{}, {"title": "Milk"}, {"description": "2 l"}])
async def test_change_to_the_same_is_none(client: AsyncClient, change: dict[str, str]) -> None:
    item = await create(client, "Milk", "2 l")

    response = await client.patch(f"/api/v1/items/{item['id']}", json=change)

    assert response.json() == item


async def test_deleted_item_is_gone(client: AsyncClient) -> None:
    item = await create(client, "Milk")

    response = await client.delete(f"/api/v1/items/{item['id']}")

    assert response.status_code == 204
    assert (await client.get(f"/api/v1/items/{item['id']}")).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_unknown_item_is_not_found(client: AsyncClient, method: str) -> None:
    body = {"title": "Milk"} if method in {"PUT", "PATCH"} else None

    response = await client.request(method, f"/api/v1/items/{uuid4()}", json=body)

    assert response.status_code == 404
    assert response.json()["code"] == "item_not_found"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/unknown", 404, "not_found"),
        ("DELETE", "/api/v1/health", 405, "method_not_allowed"),
        ("GET", "/api/v1/items/", 404, "not_found"),
        ("GET", "/api/v1/items?sort=price", 422, "validation_error"),
        ("GET", "/api/v1/items?limit=101", 422, "validation_error"),
        ("GET", f"/api/v1/items?skip={2**62}", 422, "validation_error"),
        ("GET", "/api/v1/items?page=2", 422, "validation_error"),
        ("GET", "/api/v1/items/1", 422, "validation_error"),
    ],
)
async def test_every_error_is_a_problem(
    client: AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await client.request(method, path, headers={"X-Request-ID": "abc"})

    problem = response.json()
    assert response.status_code == problem["status"] == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert problem["code"] == code
    assert problem["request_id"] == "abc"
    assert problem["instance"] == path.partition("?")[0]
    assert problem.keys() >= {"type", "title", "detail", "timestamp"}


async def test_invalid_field_is_named_and_its_value_is_not(client: AsyncClient) -> None:
    response = await client.post("/api/v1/items", json={"title": ["hunter2"]})

    assert response.json()["errors"] == [
        {"field": "title", "message": "Input should be a valid string", "code": "string_type"}
    ]
    assert "hunter2" not in response.text


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"{"])
async def test_body_that_is_no_object_is_named(client: AsyncClient, body: bytes) -> None:
    response = await client.post(
        "/api/v1/items", content=body, headers={"Content-Type": "application/json"}
    )

    assert [error["field"] for error in response.json()["errors"]] == ["body"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"title": "\\ud800"}',
        b'{"title": NaN}',
        b'{"title": ' + b"9" * 5000 + b"}",
        b'{"title": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 100_000,
    ],
    ids=lambda body: body[:12],
)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
async def test_no_body_is_the_fault_of_the_service(
    client: AsyncClient, body: bytes, content_type: str
) -> None:
    response = await client.post(
        "/api/v1/items", content=body, headers={"Content-Type": content_type}
    )

    assert response.headers["Content-Type"] == "application/problem+json"
    assert (response.status_code, response.json()["code"]) in {
        (400, "bad_request"),
        (422, "validation_error"),
    }


@pytest.mark.parametrize(
    "query",
    [
        "q=%00",
        "q=%ED%A0%80",
        "q=%FF",
        "skip=1e999",
        "created_after=1e20",
        "created_after=0001-01-01T00:00:00%2B14:00",
        "created_before=9999-12-31T23:59:59-14:00",
        f"limit={'9' * 5000}",
    ],
)
async def test_no_query_is_the_fault_of_the_service(client: AsyncClient, query: str) -> None:
    await create(client, "Milk")

    response = await client.get(f"/api/v1/items?{query}")

    assert response.status_code in {200, 422}


async def test_fault_of_the_service_tells_nothing(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "items", None)

    response = await client.get("/api/v1/items")

    assert response.status_code == 500
    assert response.json()["code"] == "internal_server_error"
    assert response.headers["X-Request-ID"] == response.json()["request_id"]


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a;b", "a\n"])
async def test_unfit_request_id_is_replaced(client: AsyncClient, given: str) -> None:
    response = await client.get("/api/v1/health", headers={"X-Request-ID": given})

    assert response.headers["X-Request-ID"] not in {given, ""}
