"""Errors: every one is a problem document, none is the server's fault, none says too much."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Header, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from httpx import AsyncClient
from pydantic import BaseModel, SecretStr
from starlette.types import Message, Receive, Scope, Send

from app.api.middleware import ErrorMiddleware
from app.core.errors import UnavailableError
from app.core.settings import Settings
from tests.support.problems import problem

ITEMS = "/api/v1/items"
ITEM = f"{ITEMS}/7f0c2f5e-8a3b-4a53-9d0c-0f3a1c5f5e11"
ORIGIN = "https://shop.example.com"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"cors_origins": [ORIGIN], "max_body_bytes": 150_000})


# ── Shape ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/nothing", "/api/v1/nothing", "/api/v1/items/", "/ä/%00"])
async def test_unknown_path(client: AsyncClient, path: str) -> None:
    document = problem(await client.get(path), 404)

    assert document["code"] == "not_found"
    assert document["title"] == "Not Found"
    assert "errors" not in document


async def test_unknown_item(client: AsyncClient) -> None:
    document = problem(await client.get(ITEM), 404)

    assert document["code"] == "item_not_found"
    assert ITEM.rpartition("/")[2] in document["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", ITEMS, {"GET", "HEAD", "POST"}),
        ("POST", ITEM, {"GET", "HEAD", "PUT", "PATCH", "DELETE"}),
        ("POST", "/api/v1/health", {"GET", "HEAD"}),
        ("BREW", ITEMS, {"GET", "HEAD", "POST"}),
        ("TRACE", ITEMS, {"GET", "HEAD", "POST"}),
        ("OPTIONS", ITEMS, {"GET", "HEAD", "POST"}),
        ("POST", "/", {"GET", "HEAD"}),
        ("PUT", "/docs", {"GET", "HEAD"}),
        ("PUT", "/docs/assets/swagger-ui.css", {"GET", "HEAD"}),
        ("PUT", "/openapi.json", {"GET", "HEAD"}),
    ],
)
async def test_wrong_method_is_told_every_right_one(
    client: AsyncClient, method: str, path: str, allowed: set[str]
) -> None:
    response = await client.request(method, path)

    assert problem(response, 405)["code"] == "method_not_allowed"
    assert set(response.headers["Allow"].split(", ")) == allowed


async def test_error_that_a_route_writes_itself_goes_out_as_it_is(
    app: FastAPI, client: AsyncClient
) -> None:
    own = {
        "json": JSONResponse({"error": "invalid_grant"}, 400),
        "html": HTMLResponse("<h1>Gone</h1>", 410),
        "text": PlainTextResponse("no", 409),
        "empty": Response(status_code=404),
    }

    @app.get("/own/{name}", response_model=None)
    async def own_error(name: str) -> Response:
        return own[name]

    for name, response in own.items():
        received = await client.get(f"/own/{name}")

        assert received.status_code == response.status_code
        assert received.content == response.body
        assert received.headers.get("Content-Type") == response.headers.get("Content-Type")


async def test_faulty_fields_are_all_named_with_the_reason(client: AsyncClient) -> None:
    response = await client.post(ITEMS, json={"title": "", "description": 1})

    document = problem(response, 422)
    assert document["code"] == "validation_error"
    assert document["errors"] == [
        {
            "field": "title",
            "message": "String should have at least 1 character",
            "code": "string_too_short",
        },
        {
            "field": "description",
            "message": "Input should be a valid string",
            "code": "string_type",
        },
    ]


async def test_refusal_does_not_repeat_what_was_sent(app: FastAPI, client: AsyncClient) -> None:
    class Credentials(BaseModel):
        password: SecretStr
        age: int

    @app.post("/secret")
    async def take_secrets(credentials: Credentials, token: Annotated[int, Header()]) -> None:
        """Never reached."""

    response = await client.post(
        "/secret", json={"password": ["hunter2"], "age": "hunter3"}, headers={"token": "hunter4"}
    )

    assert len(problem(response, 422)["errors"]) == 3
    assert "hunter" not in response.text


@pytest.mark.parametrize("body", ["{", "", "{'title': 'x'}", '{"title": "x"} x', "nope"])
async def test_body_that_is_no_json_is_refused(client: AsyncClient, body: str) -> None:
    response = await client.post(ITEMS, content=body, headers={"Content-Type": "application/json"})

    assert [error["field"] for error in problem(response, 422)["errors"]] == ["body"]


async def test_one_answer_names_a_hundred_faults_at_most(client: AsyncClient) -> None:
    response = await client.get("/api/v1/items", params={f"unknown_{n}": "" for n in range(150)})

    assert len(problem(response, 422)["errors"]) == 100


async def test_body_over_the_limit_is_refused_before_it_is_sent(client: AsyncClient) -> None:
    async def body() -> AsyncIterator[bytes]:
        pytest.fail("the body was read")
        yield b""

    response = await client.post(ITEMS, content=body(), headers={"Content-Length": "150001"})

    assert problem(response, 413)["code"] == "content_too_large"


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "ten", "²"])
async def test_body_of_absurd_length_is_refused(client: AsyncClient, length: str) -> None:
    headers = [(b"Content-Length", length.encode()), (b"Content-Type", b"application/json")]

    problem(await client.post(ITEMS, content=b"{}", headers=headers), 413)


async def test_body_that_grows_over_the_limit_is_refused(client: AsyncClient) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'{"title": "'
        for _ in range(3):
            yield b"x" * 50_000

    response = await client.post(
        ITEMS, content=body(), headers={"Content-Type": "application/json"}
    )

    assert problem(response, 413)["code"] == "content_too_large"


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/api/v1/health", 200), ("DELETE", "/nothing", 404)]
)
async def test_body_that_nobody_asked_for_is_not_waited_for(
    client: AsyncClient, method: str, path: str, status: int
) -> None:
    async def body() -> AsyncIterator[bytes]:
        pytest.fail("the body was read")
        yield b""

    response = await client.request(method, path, content=body())

    assert response.status_code == status


async def test_body_at_the_limit_is_read(client: AsyncClient) -> None:
    body = b'{"title": "x"}'.ljust(150_000)

    response = await client.post(ITEMS, content=body, headers={"Content-Type": "application/json"})

    assert response.status_code == 201


async def test_route_may_take_a_larger_body_than_others(app: FastAPI, client: AsyncClient) -> None:
    @app.post("/files", max_body_size=300_000)
    async def take_file(request: Request) -> int:
        return len(await request.body())

    async def chunks(size: int) -> AsyncIterator[bytes]:
        for _ in range(size // 50_000):
            yield b"x" * 50_000

    assert (await client.post("/files", content=b"x" * 300_000)).json() == 300_000
    assert (await client.post("/files", content=chunks(300_000))).json() == 300_000
    problem(await client.post("/files", content=b"x" * 300_001), 413)
    problem(await client.post("/files", content=chunks(350_000)), 413)
    problem(await client.post(ITEMS, content=b"x" * 150_001), 413)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "deflate, gzip", "gzip, identity", "x"])
async def test_compressed_body_is_refused(client: AsyncClient, encoding: str) -> None:
    body = gzip.compress(b'{"title": "x"}')

    response = await client.post(
        ITEMS,
        content=body,
        headers={"Content-Type": "application/json", "Content-Encoding": encoding},
    )

    assert problem(response, 415)["code"] == "unsupported_media_type"
    assert response.headers["Accept-Encoding"] == "identity"


async def test_compressed_body_of_undeclared_length_is_refused(client: AsyncClient) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield gzip.compress(b'{"title": "x"}')

    response = await client.post(ITEMS, content=body(), headers={"Content-Encoding": "gzip"})

    problem(response, 415)


async def test_body_that_is_not_compressed_may_say_so(client: AsyncClient) -> None:
    response = await client.post(
        ITEMS, json={"title": "x"}, headers={"Content-Encoding": "identity"}
    )

    assert response.status_code == 201
    assert (await client.get(ITEMS, headers={"Content-Encoding": "gzip"})).status_code == 200


class PanicError(BaseException):
    """An error that is neither an exception nor an exit, as extensions in Rust raise."""


@pytest.mark.parametrize(
    "error",
    [
        PanicError("hunter2"),
        BaseExceptionGroup("hunter2", [PanicError("hunter2")]),
        # Of a task that the route awaited; the request itself is not cancelled.
        asyncio.CancelledError("hunter2"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_error_beyond_exceptions_is_answered_too(
    app: FastAPI, client: AsyncClient, error: BaseException
) -> None:
    @app.get("/fault")
    async def fault() -> None:
        raise error

    response = await client.get("/fault")

    problem(response, 500)
    assert "hunter2" not in response.text


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), BaseExceptionGroup("", [SystemExit(3)])]
)
async def test_exit_is_not_kept_from_the_server(error: BaseException) -> None:
    async def leave(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        raise error

    with pytest.raises(type(error)):
        await ErrorMiddleware(leave)({"type": "http"}, receive_nothing, send_nothing)


async def receive_nothing() -> Message:
    return {"type": "http.disconnect"}


async def send_nothing(message: Message) -> None:
    pytest.fail(f"{message} was sent")


async def test_request_that_the_server_cancels_may_be_sent_again(client: AsyncClient) -> None:
    has_begun = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"{"
        has_begun.set()
        await asyncio.Event().wait()

    request = asyncio.create_task(client.post(ITEMS, content=body()))
    await has_begun.wait()
    request.cancel()

    response = await request
    assert problem(response, 503)["code"] == "service_unavailable"
    assert int(response.headers["Retry-After"]) > 0
    assert response.headers["Connection"] == "close"


async def test_fault_of_ours_is_not_described(app: FastAPI, client: AsyncClient) -> None:
    @app.get("/fault")
    async def fault() -> None:
        raise RuntimeError("the password is hunter2")

    response = await client.get("/fault", headers={"Origin": ORIGIN, "X-Request-ID": "my-id"})

    document = problem(response, 500)
    assert document["code"] == "internal_server_error"
    assert document["detail"] == "Internal Server Error."
    assert document["request_id"] == "my-id"
    assert "hunter2" not in response.text
    assert "RuntimeError" not in response.text
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN


async def test_response_that_breaks_off_is_not_mended(app: FastAPI, client: AsyncClient) -> None:
    async def half(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError

    app.mount("/half", half)

    response = await client.get("/half/")

    assert response.status_code == 200
    assert response.text == "half"


@pytest.mark.parametrize("error", [UnavailableError("hunter2"), TimeoutError("hunter2")])
async def test_outage_asks_to_come_back_later(
    app: FastAPI, client: AsyncClient, error: Exception
) -> None:
    @app.get("/outage")
    async def outage() -> None:
        raise error

    response = await client.get("/outage")

    assert problem(response, 503)["code"] == "service_unavailable"
    assert int(response.headers["Retry-After"]) > 0
    assert "hunter2" not in response.text


# ── Request id ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("request_id", ["a", "x" * 64, "A-b_c.9"])
async def test_request_id_is_accepted(client: AsyncClient, request_id: str) -> None:
    response = await client.get("/api/v1/health", headers={"X-Request-ID": request_id})

    assert response.headers.get_list("X-Request-ID") == [request_id]


@pytest.mark.parametrize(
    "request_id", ["", "x" * 65, "a b", "a\n", "a;b", "<script>", "é", "a\r\nX-Injected: 1"]
)
async def test_request_id_of_another_form_is_replaced(client: AsyncClient, request_id: str) -> None:
    headers = [(b"X-Request-ID", request_id.encode())]

    response = await client.get("/api/v1/health", headers=headers)

    assert response.headers["X-Request-ID"] not in {request_id, ""}
    assert len(response.headers["X-Request-ID"]) <= 64
    assert "X-Injected" not in response.headers


async def test_every_request_has_an_id_of_its_own(client: AsyncClient) -> None:
    responses = [await client.get(path) for path in ("/api/v1/health", "/nothing", "/docs")]

    assert len({response.headers["X-Request-ID"] for response in responses}) == 3


# ── Hostile input ────────────────────────────────────────────────────────────────────────────────

HOSTILE_BODIES = {
    "nul": b'{"title": "\\u0000"}',
    "raw nul": b'{"title": "\0"}',
    "lone surrogate": b'{"title": "\\ud800"}',
    "lone surrogate in a description": b'{"title": "x", "description": "\\udfff"}',
    "lone surrogate in a name": b'{"\\ud800": 1}',
    "not a number": b'{"title": NaN}',
    "infinity": b'{"title": "x", "description": -Infinity}',
    "large number": b'{"title": %d}' % 2**62,
    "huge number": b'{"title": %s}' % (b"9" * 5000),
    "huge exponent": b'{"title": 1e999999}',
    "nested lists": b"[" * 100_000,
    "nested and closed lists": b'{"title": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "nested objects": b'{"a":' * 20_000,
    "bad utf-8": b'{"title": "\xff\xfe"}',
    "overlong utf-8": b'{"title": "\xc0\x80"}',
    "empty": b"",
    "null": b"null",
    "number": b"1",
    "no json": b"\x00\x01\x02",
}


@pytest.mark.parametrize("body", HOSTILE_BODIES.values(), ids=HOSTILE_BODIES)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_hostile_body_is_refused(client: AsyncClient, method: str, body: bytes) -> None:
    url = ITEMS if method == "POST" else ITEM

    response = await client.request(
        method, url, content=body, headers={"Content-Type": "application/json"}
    )

    assert response.status_code in {404, 422}, response.text
    problem(response, response.status_code)


@pytest.mark.parametrize("body", [b"\xff", b"[" * 100_000, b"9" * 5000], ids=lambda body: body[:4])
async def test_unreadable_body_is_answered_as_invalid_json_is(
    client: AsyncClient, body: bytes
) -> None:
    response = await client.post(ITEMS, content=body, headers={"Content-Type": "application/json"})

    [error] = problem(response, 422)["errors"]
    assert (error["field"], error["code"]) == ("body", "json_invalid")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-99",
        "application/xml",
        "/",
        "",
        "\xff",
    ],
)
async def test_body_of_another_type_is_refused(client: AsyncClient, content_type: str) -> None:
    response = await client.post(
        ITEMS,
        content=b"title=x",
        headers=[(b"Content-Type", content_type.encode("latin-1"))],
    )

    assert 400 <= response.status_code < 500, response.text
    problem(response, response.status_code)


@pytest.mark.parametrize("name", ["skip", "sort", "q", "created_after", "%00", "%ED%A0%80"])
async def test_hostile_query_is_no_fault_of_ours(client: AsyncClient, name: str) -> None:
    for value in ["%00", "%FF", "%ED%A0%80", "9" * 5000, "NaN", "%F0%9F%A5%9B"]:
        response = await client.get(f"{ITEMS}?{name}={value}")

        assert response.status_code < 500, value


@pytest.mark.parametrize("item_id", ["%00", "%FF", "%ED%A0%80", "9" * 5000, "..%2f..", "{}", "%"])
async def test_hostile_id_is_refused(client: AsyncClient, item_id: str) -> None:
    response = await client.get(f"{ITEMS}/{item_id}")

    assert response.status_code in {404, 422}, response.text


@pytest.mark.parametrize("name", ["Accept", "Accept-Encoding", "Origin", "Cookie", "Range"])
async def test_hostile_header_is_no_fault_of_ours(client: AsyncClient, name: str) -> None:
    for value in [b"\xff\xfe", b"x" * 5000, b"=;=,;q=nan", b""]:
        response = await client.get(ITEMS, headers=[(name.encode(), value)])

        assert response.status_code < 500, value
