"""The commands for operators, and the server that they start."""

import asyncio
import json
import os
from collections.abc import AsyncIterator

import pytest
import uvicorn
from fastapi import FastAPI
from typer.testing import CliRunner

from app import __main__
from app.main import app as service


def run(*arguments: str) -> str:
    """Return the output of a command that succeeds."""
    result = CliRunner().invoke(__main__.cli, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_settings_are_listed() -> None:
    lines = dict(line.split("=", 1) for line in run("settings").splitlines())

    assert lines["ENVIRONMENT"] == "test"
    assert lines["DOCS_ENABLED"] == "true"


def test_openapi_document_is_printed() -> None:
    assert json.loads(run("openapi")) == service.openapi()


def test_commands_are_listed() -> None:
    output = run("--help")

    assert [name for name in ("serve", "settings", "openapi") if name not in output] == []


def test_serve_takes_the_options_of_uvicorn() -> None:
    output = run("serve", "--help")

    assert "Usage: python -m app serve [OPTIONS]" in output
    assert "--workers" in output


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments of each uvicorn that was started."""
    started: list[list[str]] = []
    monkeypatch.setattr(__main__, "uvicorn", lambda command, **_: started.append(command))
    for name in ("FORWARDED_ALLOW_IPS", "PORT", "UVICORN_PORT"):
        # Set first, so that it is removed again after the test.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return started


def test_server_gets_its_options_and_trusts_no_proxy(started: list[list[str]]) -> None:
    run("serve", "--workers", "2")

    assert started[0][0] == "app.main:app"
    assert started[0][-2:] == ["--workers", "2"]
    assert os.environ["FORWARDED_ALLOW_IPS"] == ""
    assert os.environ["UVICORN_PORT"] == "8000"


def test_server_trusts_the_proxies_that_are_set(
    started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "192.0.2.1")

    run("serve")

    assert started
    assert os.environ["FORWARDED_ALLOW_IPS"] == "192.0.2.1"


@pytest.mark.parametrize(
    ("variables", "port"),
    [
        ({"PORT": "8080"}, "8080"),
        ({"PORT": ""}, "8000"),
        ({"PORT": "8080", "UVICORN_PORT": "9"}, "9"),
    ],
)
def test_server_listens_on_the_port_that_is_set(
    started: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    port: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    run("serve")

    assert started
    assert os.environ["UVICORN_PORT"] == port


@pytest.fixture
async def port(app: FastAPI) -> AsyncIterator[int]:
    """The port of a uvicorn that serves the application, and logs to the root logger."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, log_level="info"))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110, uvicorn has no event
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task


async def send(port: int, method: str, path: str) -> bytes:
    """Return the whole response, as it was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    headers = "Host: test\r\nX-Request-ID: abc\r\nConnection: close\r\n"
    writer.write(f"{method} {path} HTTP/1.1\r\n{headers}\r\n".encode())
    response = await reader.read()
    writer.close()
    await writer.wait_closed()
    return response


async def test_access_log_has_the_request_id_and_no_query(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    await send(port, "GET", "/unknown?secret=1")

    [line] = [record.getMessage() for record in caplog.records if record.name == "uvicorn.access"]
    assert line.startswith("abc 127.0.0.1:")
    assert line.endswith(' - "GET /unknown HTTP/1.1" 404')


async def test_log_of_an_unexpected_error_has_the_request_id(
    app: FastAPI, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/broken")
    async def fail() -> None:
        raise RuntimeError

    await send(port, "GET", "/broken")

    [record] = [record for record in caplog.records if record.exc_info]
    assert record.getMessage().startswith("abc Exception in ASGI application")


@pytest.mark.parametrize("path", ["/api/v1/health", "/unknown", "/docs"])
async def test_response_to_head_has_no_body(port: int, path: str) -> None:
    response = await send(port, "HEAD", path)

    assert response.startswith(b"HTTP/1.1 ")
    assert response.endswith(b"\r\n\r\n")
