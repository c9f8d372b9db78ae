"""The HTTP edge, in plain ASGI: what every request and response passes on its way."""

import re
import time
from typing import Final

import structlog
from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI, status
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import MEDIA_TYPE, problem
from app.core.settings import Settings

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Bytes: below it, compression costs more than it saves.
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
# Two years, what browsers' preload lists ask for.
_HSTS: Final = {"Strict-Transport-Security": "max-age=63072000; includeSubDomains"}

_access_log = structlog.get_logger("app.access")
_error_log = structlog.get_logger("app.error")


def add_middleware(app: FastAPI, settings: Settings) -> None:
    """Wrap the application; the last one added is the first to see a request."""
    app.add_middleware(UnhandledErrorMiddleware)
    app.add_middleware(GZipMiddleware, minimum_size=_WORTH_COMPRESSING, compresslevel=5)
    app.add_middleware(BodyLimitMiddleware, max_bytes=settings.max_body_bytes)
    app.add_middleware(
        TrustedHostMiddleware, allowed_hosts=settings.allowed_hosts, www_redirect=False
    )
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            # No cookie is sent along, so that any header is what the calling page wrote itself.
            allow_headers=["*"],
            expose_headers=["Location", "Retry-After", "X-Request-ID"],
        )
    app.add_middleware(ProblemMiddleware)
    app.add_middleware(SecurityHeadersMiddleware, secure=settings.environment.is_deployed)
    app.add_middleware(AccessLogMiddleware)
    app.add_middleware(
        CorrelationIdMiddleware,
        validator=lambda value: _REQUEST_ID.fullmatch(value) is not None,
    )


class AccessLogMiddleware:
    """One line a request: what was asked and how it ended; no query, no header, no body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        # What a client that hangs up before the answer is logged with.
        status_code = 499

        async def send_noting_status(message: Message) -> None:
            nonlocal status_code
            if message["type"] == "http.response.start":
                status_code = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_noting_status)
        finally:
            _access_log.info(
                "request",
                method=scope["method"],
                route=_route(scope),
                status=status_code,
                duration_ms=round((time.perf_counter() - started) * 1000, 2),
            )


def _route(scope: Scope) -> str | None:
    """Return the path with its parameters unfilled, or nothing when no route matched."""
    return getattr(scope.get("route"), "path", None)


class SecurityHeadersMiddleware:
    """Tell browsers what not to do. A response that sets one of the headers itself keeps it."""

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
            await send(message)

        await self.app(scope, receive, send_with_headers)


class ProblemMiddleware:
    """Replace the plain-text errors of other middleware (hosts, CORS) by problem documents."""

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
            if message["type"] == "http.response.start" and _is_plain_error(message):
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


def _is_plain_error(message: Message) -> bool:
    if message["status"] < status.HTTP_400_BAD_REQUEST:
        return False
    return not Headers(raw=message["headers"]).get("content-type", "").startswith(MEDIA_TYPE)


class BodyLimitMiddleware:
    """Refuse bodies over `max_bytes`: declared ones before a byte is read, others on the way.

    Where nothing reads a body of undeclared length, nothing waits for it, and the server drops it.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        # The server has refused one that is not a number; not every server has.
        if not declared.isdecimal() or int(declared[:20]) > self.max_bytes:
            await problem(scope, status.HTTP_413_CONTENT_TOO_LARGE)(scope, receive, send)
            return
        received = 0

        async def receive_up_to_limit() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise HTTPException(status.HTTP_413_CONTENT_TOO_LARGE)
            return message

        await self.app(scope, receive_up_to_limit, send)


class UnhandledErrorMiddleware:
    """Answer a fault of ours with a problem that tells nothing of it; the log tells all."""

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
            await send(message)

        try:
            await self.app(scope, receive, send_noting_start)
        except Exception:
            _error_log.exception("unhandled_error", method=scope["method"], route=_route(scope))
            if has_started:
                # Half a response cannot be taken back; the server has to cut it off.
                raise
            await problem(scope, status.HTTP_500_INTERNAL_SERVER_ERROR)(scope, receive, send)
