"""Problem documents, methods and request ids, over HTTP."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Headers
from starlette.exceptions import HTTPException

from app import Code, Problem, main
from tests import client_of

ITEMS = "/api/v1/items"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/unknown", 404, "not_found"),
        ("DELETE", "/api/v1/health", 405, "method_not_allowed"),
        ("GET", f"{ITEMS}/", 404, "not_found"),
        ("GET", f"{ITEMS}?sort=price", 422, "validation_error"),
        ("GET", f"{ITEMS}?limit=101", 422, "validation_error"),
        ("GET", f"{ITEMS}?skip={2**62}", 422, "validation_error"),
        ("GET", f"{ITEMS}?page=2", 422, "validation_error"),
        ("GET", f"{ITEMS}/1", 422, "validation_error"),
    ],
)
async def test_every_error_is_a_problem(
    client: AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await client.request(method, path, headers={"X-Request-ID": "abc"})

    problem = Problem.model_validate(response.json())
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.status_code == problem.status == status
    assert problem.code == code
    assert problem.request_id == response.headers["X-Request-ID"] == "abc"
    assert problem.instance == path.partition("?")[0]


async def test_unexpected_error_reveals_nothing(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "items", None)

    response = await client.get(ITEMS)

    problem = Problem.model_validate(response.json())
    assert response.status_code == 500
    assert response.headers["Content-Type"] == "application/problem+json"
    assert problem.detail == "Internal server error."
    assert response.headers.get_list("X-Request-ID") == [problem.request_id]


async def test_error_of_a_route_keeps_its_detail_and_headers(app: FastAPI) -> None:
    @app.get("/teapot")
    async def brew() -> None:
        raise HTTPException(418, "Try tea.", {"X-Try": "tea"})

    async with client_of(app) as client:
        response = await client.get("/teapot")

    assert response.json()["detail"] == "Try tea."
    assert response.headers["X-Try"] == "tea"


async def test_invalid_field_is_named_and_its_value_is_not_repeated(client: AsyncClient) -> None:
    response = await client.post(ITEMS, json={"title": ["hunter2"]})

    assert response.json()["errors"] == [
        {"field": "title", "message": "Input should be a valid string", "code": "string_type"}
    ]
    assert "hunter2" not in response.text


@pytest.mark.parametrize("body", [b"", b"[]", b"1"])
async def test_body_that_is_not_an_object_is_invalid(client: AsyncClient, body: bytes) -> None:
    response = await client.post(ITEMS, content=body, headers={"Content-Type": "application/json"})

    assert [error["field"] for error in response.json()["errors"]] == ["body"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b'{"title": ' + b"9" * 5000 + b"}",
        b'{"title": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 100_000,
    ],
    ids=lambda body: body[:12],
)
async def test_undecodable_json_is_invalid(client: AsyncClient, body: bytes) -> None:
    response = await client.post(ITEMS, content=body, headers={"Content-Type": "application/json"})

    assert response.status_code == 422
    assert response.json()["errors"] == [
        {"field": "body", "message": "JSON decode error", "code": "json_invalid"}
    ]


@pytest.mark.parametrize("title", [r'"\ud800"', "NaN", "null", r'""', "1e999"])
async def test_title_that_is_not_text_is_invalid(client: AsyncClient, title: str) -> None:
    body = '{"title": ' + title + "}"

    response = await client.post(ITEMS, content=body, headers={"Content-Type": "application/json"})

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "title"


@pytest.mark.parametrize("content_type", ["text/plain", "image/png", "x", "\xff", ""])
async def test_body_that_is_not_json_is_invalid(client: AsyncClient, content_type: str) -> None:
    headers = Headers({"Content-Type": content_type}, encoding="latin-1")

    response = await client.post(ITEMS, content=b'{"title": "Milk"}', headers=headers)

    assert response.status_code == 422


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP, identity"])
@pytest.mark.parametrize("body", [b"\x1f\x8b", b'{"title": "Milk"}'])
async def test_compressed_body_is_not_supported(
    client: AsyncClient, encoding: str, body: bytes
) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}

    response = await client.post(ITEMS, content=body, headers=headers)

    assert response.status_code == 415
    assert response.json()["code"] == "unsupported_media_type"
    assert response.json()["request_id"] == response.headers["X-Request-ID"]


async def test_body_that_is_not_compressed_may_say_so(client: AsyncClient) -> None:
    response = await client.post(
        ITEMS, json={"title": "Milk"}, headers={"Content-Encoding": "identity"}
    )

    assert response.status_code == 201


@pytest.mark.parametrize(
    "time", ["0.5", "0", "-1", "1700000000", "1e20", "1.5e-5", "NaN", "", "2020-13-01", "now"]
)
async def test_time_that_is_not_in_iso_8601_is_invalid(client: AsyncClient, time: str) -> None:
    response = await client.get(ITEMS, params={"created_before": time})

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "created_before"


@pytest.mark.parametrize(
    "query",
    [
        "q=%00",
        "q=%ED%A0%80",
        "q=%FF",
        "skip=1e999",
        "created_after=0001-01-01T00:00:00%2B14:00",
        "created_before=9999-12-31T23:59:59-14:00",
        f"limit={'9' * 5000}",
        "cursor=%00",
        "cursor=%FF.%FF",
        f"cursor={'A' * 5000}.{'A' * 27}",
    ],
)
async def test_no_query_is_an_error_of_the_service(client: AsyncClient, query: str) -> None:
    await client.post(ITEMS, json={"title": "Milk"})

    response = await client.get(f"{ITEMS}?{query}")

    assert response.status_code in {200, 422}


@pytest.mark.parametrize("host", ["[", "a b", "test:x", "\xff", "http://[::1"])
async def test_no_host_is_an_error_of_the_service(client: AsyncClient, host: str) -> None:
    headers = Headers({"Host": host}, encoding="latin-1")

    response = await client.post(ITEMS, json={"title": "Milk"}, headers=headers)

    assert response.status_code == 201
    assert response.headers["Location"].startswith(f"{ITEMS}/")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/", "GET, HEAD"),
        ("/docs", "GET, HEAD"),
        ("/api/v1/health", "GET, HEAD"),
        (ITEMS, "GET, HEAD, POST"),
        (f"{ITEMS}/1", "GET, HEAD, PUT, PATCH, DELETE"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/shop"])
async def test_allow_has_the_methods_of_every_route(
    app: FastAPI, prefix: str, path: str, allowed: str
) -> None:
    async with client_of(app, root_path=prefix) as client:
        response = await client.options(prefix + path)

    assert response.status_code == 405
    assert response.headers["Allow"] == allowed


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/api/v1/ready", ITEMS, "/x"])
async def test_head_has_the_headers_of_get(client: AsyncClient, path: str) -> None:
    headers = {"X-Request-ID": "abc"}

    head, get = [await client.request(method, path, headers=headers) for method in ("HEAD", "GET")]

    assert head.status_code == get.status_code
    assert head.headers == get.headers
    assert head.content == b""


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a;b", "é", "a\n"])
async def test_invalid_request_id_is_replaced(client: AsyncClient, given: str) -> None:
    headers = Headers({"X-Request-ID": given}, encoding="utf-8")

    response = await client.get("/api/v1/health", headers=headers)

    [used] = response.headers.get_list("X-Request-ID")
    assert used not in {given, ""}


@pytest.mark.parametrize("prefix", ["", "/shop"])
async def test_root_leads_to_the_documentation(app: FastAPI, prefix: str) -> None:
    async with client_of(app, root_path=prefix) as client:
        response = await client.get(f"{prefix}/")

    assert response.status_code == 302
    assert response.headers["Location"] == f"{prefix}/docs"


def operations(app: FastAPI) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_operations_are_named_as_their_functions(app: FastAPI) -> None:
    names = {operation["operationId"] for _, _, operation in operations(app)}

    assert names == {
        "read_health",
        "read_readiness",
        "create_item",
        "list_items",
        "read_item",
        "replace_item",
        "update_item",
        "delete_item",
    }


def test_every_documented_error_is_a_problem(app: FastAPI) -> None:
    for _ in range(2):  # the document is kept after the first time
        for _, _, operation in operations(app):
            for status, response in operation["responses"].items():
                schemas = [content["schema"] for content in response.get("content", {}).values()]
                is_problem = schemas == [{"$ref": "#/components/schemas/Problem"}]
                assert is_problem == (status >= "400")
    schemas = app.openapi()["components"]["schemas"]
    assert schemas["Code"]["enum"] == sorted(Code)
    assert not schemas.keys() & {"HTTPValidationError", "ValidationError"}
