"""A load generator: connections that stay open, each with one request on its way at any time."""

import asyncio
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"


class UnexpectedAnswerError(Exception):
    """The server did not answer as it should; figures of such a run would mean nothing."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    expected_status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def encode(self, port: int) -> bytes:
        headers = {"Host": f"127.0.0.1:{port}", "Accept": "application/json", **self.headers}
        if self.body:
            headers["Content-Length"] = str(len(self.body))
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass(frozen=True)
class Sample:
    seconds: float
    latencies: list[float]
    """Seconds, one for each answer, the shortest first."""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """The latency, in seconds, that so many percent of the answers did not exceed."""
        return self.latencies[max(0, math.ceil(len(self.latencies) * percent / 100) - 1)]


async def load(port: int, request: Request, *, clients: int, seconds: float) -> Sample:
    """Send the request over and over, from as many connections as there are clients.

    Raises:
        UnexpectedAnswerError: an answer had another status, or a connection was lost.
    """
    loop = asyncio.get_running_loop()
    encoded = request.encode(port)
    expected = b"HTTP/1.1 %d " % request.expected_status
    started = time.perf_counter()
    connections: list[_Connection] = []
    try:
        for _ in range(clients):
            _, connection = await loop.create_connection(
                lambda: _Connection(encoded, expected, started + seconds), "127.0.0.1", port
            )
            connections.append(connection)
        await asyncio.gather(*(connection.finished for connection in connections))
    finally:
        for connection in connections:
            connection.close()
    latencies = sorted(latency for each in connections for latency in each.latencies)
    return Sample(time.perf_counter() - started, latencies)


class _Connection(asyncio.Protocol):
    """Knows as much of HTTP as the servers measured here need: one answer, of declared length."""

    def __init__(self, request: bytes, expected: bytes, deadline: float) -> None:
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.latencies: list[float] = []
        self._request = request
        self._expected = expected
        self._deadline = deadline
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(_END_OF_HEAD)
        if not separator:
            return
        length = _CONTENT_LENGTH.search(head)
        if not head.startswith(self._expected) or length is None:
            self._fail(self._received[:500].decode(errors="replace"))
        elif len(body) >= int(length[1]):
            self._answered()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection was lost: {exc or 'closed by the server'}")

    def close(self) -> None:
        self.finished.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _send(self) -> None:
        assert self._transport is not None
        self._received = b""
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)

    def _answered(self) -> None:
        now = time.perf_counter()
        self.latencies.append(now - self._sent_at)
        if now < self._deadline:
            self._send()
        elif not self.finished.done():
            self.finished.set_result(None)

    def _fail(self, what: str) -> None:
        if not self.finished.done():
            self.finished.set_exception(UnexpectedAnswerError(what))
