"""WebSockets: the dependencies of routes work in them, and refuse before the connection is made."""

from typing import Any

import pytest
from fastapi import FastAPI, HTTPException, WebSocket

from app.core.errors import UnavailableError
from app.core.settings import Settings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"allowed_hosts": ["test"]})


async def messages(app: FastAPI, path: str, headers: dict[str, str]) -> list[dict[str, Any]]:
    """Open a WebSocket, and return all that the service sends."""
    sent: list[dict[str, Any]] = []
    received = [{"type": "websocket.connect"}]

    async def receive() -> dict[str, Any]:
        return received.pop(0) if received else {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "client": ("127.0.0.1", 1234),
        "headers": [
            (name.encode(), value.encode()) for name, value in ({"host": "test"} | headers).items()
        ],
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }
    await app(scope, receive, send)
    return sent


@pytest.mark.parametrize(
    ("error", "code"),
    [(UnavailableError("later"), 4503), (HTTPException(403), 4403), (TimeoutError(), 4503)],
)
async def test_error_closes_the_connection_with_its_status(
    app: FastAPI, error: Exception, code: int
) -> None:
    @app.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:  # noqa: ARG001, FastAPI requires it
        raise error

    assert [(m["type"], m.get("code")) for m in await messages(app, "/socket", {})] == [
        ("websocket.close", code)
    ]


async def test_other_host_is_refused(app: FastAPI) -> None:
    @app.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()

    first, *_ = await messages(app, "/socket", {"host": "evil.com"})

    assert (first["type"], first["status"]) == ("websocket.http.response.start", 400)
