"""Plain ASGI middleware around every request and response."""

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote

import structlog
from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI, status
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.health import PROBES
from app.api.paths import matching_routes, route_path
from app.api.problems import CLIENT_CLOSED_REQUEST, RETRY_AFTER, problem
from app.core.settings import Settings

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# In bytes. Compressing a smaller response costs more than it saves.
_WORTH_COMPRESSING: Final = 1024
_SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# Two years, as the preload lists of browsers require.
_HSTS: Final = {"Strict-Transport-Security": "max-age=63072000; includeSubDomains"}
# Set once the application has answered; until then, a response comes from middleware.
_ANSWERED: Final = "app.answered"
_EXITS: Final = (GeneratorExit, KeyboardInterrupt, SystemExit)

_access_log = structlog.get_logger("app.access")
_error_log = structlog.get_logger("app.error")


def add_middleware(app: FastAPI, settings: Settings) -> None:
    """Wrap the application. The middleware added last sees a request first."""
    app.add_middleware(ErrorMiddleware)
    app.add_middleware(GZipMiddleware, minimum_size=_WORTH_COMPRESSING, compresslevel=5)
    app.add_middleware(BodyMiddleware, max_bytes=settings.max_body_bytes)
    app.add_middleware(HostMiddleware, allowed_hosts=settings.allowed_hosts, www_redirect=False)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            # Without credentials, browsers send no cookies; any header comes from the page itself.
            allow_headers=["*"],
            expose_headers=["Location", "Retry-After", "X-Request-ID"],
        )
    app.add_middleware(ProblemMiddleware)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(ResponseHeadersMiddleware, secure=settings.environment.is_deployed)
    app.add_middleware(AccessLogMiddleware)
    app.add_middleware(
        CorrelationIdMiddleware,
        validator=lambda value: _REQUEST_ID.fullmatch(value) is not None,
    )


class AccessLogMiddleware:
    """Log one line a request: no query, no header, no body.

    Every line that is logged during the request has the client's address.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status_code = CLIENT_CLOSED_REQUEST

        async def send_noting_status(message: Message) -> None:
            nonlocal status_code
            if message["type"] == "http.response.start":
                status_code = message["status"]
            await send(message)

        with _client_in_log(scope):
            try:
                await self.app(scope, receive, send_noting_status)
            finally:
                _access_log.info(
                    "request",
                    method=scope["method"],
                    **_route(scope),
                    status=status_code,
                    duration_ms=round((time.perf_counter() - started) * 1000, 2),
                )


@contextmanager
def _client_in_log(scope: Scope) -> Iterator[None]:
    client = scope.get("client")
    tokens = structlog.contextvars.bind_contextvars(client=client[0] if client else None)
    try:
        yield
    finally:
        structlog.contextvars.reset_contextvars(**tokens)


def _route(scope: Scope) -> dict[str, str]:
    """Return the template of the matched route, or the path if no route matched."""
    route = getattr(scope.get("route"), "path", None)
    # Quoted, since the client chose it and a terminal would interpret control characters.
    return {"route": route} if route else {"path": quote(scope["path"])[:200]}


class ResponseHeadersMiddleware:
    """Add security headers. A header that the response already has is kept.

    Responses to requests with credentials must not be cached: they may contain private data.
    """

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self.app = app
        headers = _SECURITY_HEADERS | _HSTS if secure else _SECURITY_HEADERS
        self.headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                message["headers"].extend(
                    header for header in self.headers if header[0] not in present
                )
                if any(name == b"authorization" for name, _ in scope["headers"]):
                    forbid_storing(message, vary="Authorization")
            await send(message)

        await self.app(scope, receive, send_with_headers)


def forbid_storing(message: Message, *, vary: str) -> None:
    """Forbid caches to store a response that depends on a header with credentials.

    If the response already has `Cache-Control`, keep it.
    """
    headers = MutableHeaders(raw=message["headers"])
    headers.setdefault("Cache-Control", "no-store")
    headers.add_vary_header(vary)


class HeadMiddleware:
    """Answer HEAD on every GET route: the same headers, no body.

    If a route handles HEAD itself, call it unchanged.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        if not any("HEAD" in (route.methods or ()) for route in matching_routes(scope)):
            scope["method"] = "GET"

        async def send_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The server must not expect the body that Content-Length announces.
                scope["method"] = "HEAD"
                await send(message)
                # End the response, since a stream might never end.
                await send({"type": "http.response.body"})

        try:
            await self.app(scope, receive, send_headers)
        finally:
            scope["method"] = "HEAD"


class ProblemMiddleware:
    """Replace the plain-text errors of other middleware (hosts, CORS) with problem documents."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        replaced = False

        async def send_problem(message: Message) -> None:
            nonlocal replaced
            if replaced:
                return
            if message["type"] == "http.response.start" and _is_plain_error(scope, message):
                replaced = True
                headers = MutableHeaders(raw=message["headers"])
                del headers["content-length"]
                del headers["content-type"]
                response = problem(scope, message["status"])
                response.raw_headers = [*response.raw_headers, *headers.raw]
                await response(scope, receive, send)
                return
            await send(message)

        await self.app(scope, receive, send_problem)


def _is_plain_error(scope: Scope, message: Message) -> bool:
    if message["status"] < status.HTTP_400_BAD_REQUEST or _ANSWERED in scope:
        return False
    return Headers(raw=message["headers"]).get("content-type", "").startswith("text/plain")


class HostMiddleware(TrustedHostMiddleware):
    """Refuse requests for other hosts, except probes: load balancers call them by address."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and route_path(scope) in PROBES:
            await self.app(scope, receive, send)
            return
        await super().__call__(scope, receive, send)


class BodyMiddleware:
    """Reject bodies that are too large, and compressed bodies, which no route can read.

    If `Content-Length` is too large, reject before reading; otherwise while reading.
    If the route never reads a body of undeclared length, the limit does not apply; the server
    discards it. A route may allow more, as in `@router.post("/files", max_body_size=50_000_000)`.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "0")
        # Not every server rejects a length that is not a number.
        length = int(declared[:20]) if declared.isdecimal() else None
        if length is None or (length > self.max_bytes and length > self._limit_of_route(scope)):
            await problem(scope, status.HTTP_413_CONTENT_TOO_LARGE)(scope, receive, send)
            return
        if "content-encoding" in headers and _is_compressed(headers):
            response = problem(
                scope,
                status.HTTP_415_UNSUPPORTED_MEDIA_TYPE,
                "The body must not be compressed.",
                headers={"Accept-Encoding": "identity"},
            )
            await response(scope, receive, send)
            return
        received = 0
        limit = self.max_bytes

        async def receive_up_to_limit() -> Message:
            nonlocal received, limit
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                limit = self._limit_of_route(scope)
                if received > limit:
                    raise HTTPException(status.HTTP_413_CONTENT_TOO_LARGE)
            return message

        await self.app(scope, receive_up_to_limit, send)

    def _limit_of_route(self, scope: Scope) -> int:
        """Return the route's limit. Call it late, since finding the route takes time."""
        return max(
            self.max_bytes,
            *(
                getattr(route, "max_body_size", None) or 0
                for route in matching_routes(scope)
                if scope["method"] in (route.methods or ())
            ),
        )


def _is_compressed(headers: Headers) -> bool:
    if "transfer-encoding" not in headers and headers.get("content-length", "0") == "0":
        return False
    return headers["content-encoding"].strip().lower() not in {"", "identity"}


class ErrorMiddleware:
    """Answer an unhandled error with a generic problem document; only the log has the details.

    If the server cancels a request because it stops, the response is 503.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        has_started = False

        async def send_noting_start(message: Message) -> None:
            nonlocal has_started
            has_started = True
            scope[_ANSWERED] = True
            await send(message)

        try:
            await self.app(scope, receive, send_noting_start)
        except BaseException as error:
            if _is_exit(error):
                raise
            if _is_cancelled(error):
                _error_log.warning("request_cancelled", method=scope["method"], **_route(scope))
                response = problem(
                    scope,
                    status.HTTP_503_SERVICE_UNAVAILABLE,
                    "The service is stopping. Try again later.",
                    headers={"Connection": "close", "Retry-After": RETRY_AFTER},
                )
            else:
                _error_log.exception("unhandled_error", method=scope["method"], **_route(scope))
                response = problem(scope, status.HTTP_500_INTERNAL_SERVER_ERROR)
                if has_started:
                    # The response has started, so the server can only close the connection.
                    raise
            if not has_started:
                await response(scope, receive, send)


def _is_exit(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(_EXITS) is not None
    return isinstance(error, _EXITS)


def _is_cancelled(error: BaseException) -> bool:
    """Return whether the server cancelled this request, not a task that the request awaited."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
