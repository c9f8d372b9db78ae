"""Logs: one line a request, one format for all, and nothing that others should not read."""

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from app.core.logging import configure_logging
from app.core.settings import Settings
from tests.support.clients import client_of

ITEM = "/api/v1/items/7f0c2f5e-8a3b-4a53-9d0c-0f3a1c5f5e11"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"log_level": "info", "max_body_bytes": 1000})


@pytest.fixture(autouse=True)
def _quiet_afterwards() -> Iterator[None]:
    yield
    configure_logging(Settings())


def events(capsys: pytest.CaptureFixture[str], name: str = "request") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in lines if line["event"] == name]


async def test_request_is_one_line(client: AsyncClient, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()

    await client.get(ITEM, headers={"X-Request-ID": "my-id"})

    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert line.pop("duration_ms") >= 0
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request",
        "level": "info",
        "request_id": "my-id",
        "method": "GET",
        "route": "/api/v1/items/{item_id}",
        "status": 404,
        "client": "127.0.0.1",
    }


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/api/v1/health", "/api/v1/health", 200),
        ("HEAD", "/api/v1/health", "/api/v1/health", 200),
        ("GET", "/api/v1/items", "/api/v1/items", 200),
        ("GET", "/api/v1/items?limit=0", "/api/v1/items", 422),
        ("POST", "/api/v1/health", "/api/v1/health", 405),
        ("GET", "/docs/assets/favicon.png", "/docs/assets/{path:path}", 200),
    ],
)
async def test_line_says_what_was_asked_and_how_it_ended(  # noqa: PLR0913, PLR0917, a table's columns
    client: AsyncClient,
    capsys: pytest.CaptureFixture[str],
    method: str,
    path: str,
    route: str,
    status: int,
) -> None:
    capsys.readouterr()

    response = await client.request(method, path)

    (line,) = events(capsys)
    assert (line["method"], line["route"], line["status"]) == (method, route, status)
    assert line["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/nothing?q=1", "/nothing"),
        ("/ä/%1b[2J", "/%C3%A4/%1B%5B2J"),
        ("/" + "x" * 999, "/" + "x" * 199),
    ],
)
async def test_line_has_the_path_where_no_route_matches(
    client: AsyncClient, capsys: pytest.CaptureFixture[str], path: str, logged: str
) -> None:
    capsys.readouterr()

    await client.get(path)

    (line,) = events(capsys)
    assert (line["path"], line["status"]) == (logged, 404)
    assert "route" not in line


async def test_every_line_of_a_request_has_its_client(
    app: FastAPI, capsys: pytest.CaptureFixture[str]
) -> None:
    @app.get("/fault")
    async def fault() -> None:
        raise RuntimeError

    capsys.readouterr()

    async with client_of(app, client=("2001:db8::1", 1234)) as client:
        await client.get("/fault")

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["unhandled_error", "request"]
    assert {line["client"] for line in lines} == {"2001:db8::1"}


async def test_refused_request_is_logged_too(
    client: AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()

    await client.post("/api/v1/items", content=b"x" * 1001)

    assert [line["status"] for line in events(capsys)] == [413]


async def test_what_a_client_sends_is_not_logged(
    client: AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()

    await client.get("/api/v1/items", params={"q": "hunter2", "hunter3": "x"})
    await client.post(
        "/api/v1/items?token=hunter4",
        json={"title": ["hunter5"]},
        headers={"X-Secret": "hunter6", "X-Request-ID": "hunter 7", "Cookie": "hunter8"},
    )

    assert "hunter" not in capsys.readouterr().out


async def test_fault_is_logged_with_its_traceback_but_without_local_variables(
    app: FastAPI, client: AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    @app.get("/fault/{name}")
    async def fault(name: str) -> None:
        password = f"hunter2 {name}"
        raise RuntimeError(len(password))

    capsys.readouterr()

    response = await client.get("/fault/x")

    output = capsys.readouterr().out
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["event"] for line in lines] == ["unhandled_error", "request"]
    error, access = lines
    assert error["level"] == "error"
    assert error["route"] == access["route"] == "/fault/{name}"
    assert error["request_id"] == access["request_id"] == response.headers["X-Request-ID"]
    assert error["exception"][0]["exc_type"] == "RuntimeError"
    assert error["exception"][0]["frames"][-1]["name"] == "fault"
    assert access["status"] == 500
    assert "hunter2" not in output


def log_a_failure() -> None:
    try:
        password = f"hunter{6 * 7}"
        _ = len(password) / 0
    except ZeroDivisionError:
        logging.getLogger("anything").exception("It failed")


def test_other_libraries_log_in_the_same_format(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(settings)

    logging.getLogger("uvicorn.error").info("Started server process [%d]", 1)
    log_a_failure()

    started, failed = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert started["event"] == "Started server process [1]"
    assert started["logger"] == "uvicorn.error"
    assert started["level"] == "info"
    assert failed["exception"][0]["exc_type"] == "ZeroDivisionError"


def test_servers_own_access_lines_are_left_out(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(settings)

    logging.getLogger("uvicorn.access").info("GET /?token=hunter2")

    assert capsys.readouterr().out == ""


def test_level_is_kept(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(settings.model_copy(update={"log_level": "warning"}))

    logging.getLogger("anything").info("not told")
    logging.getLogger("anything").warning("told")

    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["event"] == "told"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_console_is_for_people(
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    is_terminal: bool,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    configure_logging(settings.model_copy(update={"log_format": "console"}))

    log_a_failure()

    output = capsys.readouterr().out
    assert "It failed" in output
    assert "ZeroDivisionError" in output
    assert "hunter42" not in output
    assert ("\x1b[" in output) == is_terminal


@pytest.mark.parametrize("name", ["anyio", "asyncio", "httpcore", "urllib3", "websockets.server"])
def test_library_logs_nothing_below_warning(
    settings: Settings, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    configure_logging(settings.model_copy(update={"log_level": "debug"}))

    logging.getLogger(name).info("hunter2")
    logging.getLogger(name).warning("the pool is full")
    logging.getLogger("app.services").debug("ours")

    output = capsys.readouterr().out
    assert "hunter2" not in output
    assert "the pool is full" in output
    assert "ours" in output


def test_library_is_heard_when_it_is_asked_for_by_name(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(settings.model_copy(update={"log_levels": {"websockets": "info"}}))

    logging.getLogger("websockets.server").info("connection open")
    logging.getLogger("anyio").info("hunter2")

    output = capsys.readouterr().out
    assert "connection open" in output
    assert "hunter2" not in output
    # Levels outlive a configuration.
    logging.getLogger("websockets").setLevel(logging.NOTSET)


def test_query_of_a_websocket_is_not_logged(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(settings)

    logging.getLogger("uvicorn.error").info('%s - "WebSocket %s" [accepted]', "client", "/?hunter2")

    assert "hunter2" not in capsys.readouterr().out
