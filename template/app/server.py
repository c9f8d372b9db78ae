"""uvicorn's HTTP protocol, with the bounds on headers that it does not set itself."""

import asyncio
from typing import Final

from fastapi import status
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.api.problems import problem

# Bytes of the headers of a request.
MAX_HEADERS: Final = 64 * 1024
# Seconds until the headers of a new connection, or of a request that has begun, are complete.
HEADER_TIMEOUT: Final = 10.0


class BoundedHttpProtocol(HttpToolsProtocol):
    """Refuses headers that are too large (431), or that take too long (408)."""

    _received = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)
        # The parser keeps a header until it is complete.
        if self._timer is not None and self._received > MAX_HEADERS:
            self._refuse(status.HTTP_431_REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._received = 0
        self._expect_headers()

    def on_headers_complete(self) -> None:
        self._stop_timer()
        if sum(len(name) + len(value) for name, value in self.headers) > MAX_HEADERS:
            self.app = _refuse_headers
        super().on_headers_complete()

    def _expect_headers(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(
            HEADER_TIMEOUT, self._refuse, status.HTTP_408_REQUEST_TIMEOUT
        )

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status_code: int) -> None:
        self._stop_timer()
        if not self.transport.is_closing():
            head = b"content-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[status_code] + head)
            self.transport.close()


async def _refuse_headers(scope: Scope, receive: Receive, send: Send) -> None:
    response = problem(
        scope,
        status.HTTP_431_REQUEST_HEADER_FIELDS_TOO_LARGE,
        headers={"Connection": "close"},
    )
    await response(scope, receive, send)
