"""API keys: how they are made, where a request may have one, what it may do and how often."""

import hashlib
import hmac
import json
import logging
import math
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import unquote_plus

import typer
from fastapi import FastAPI, Request, Response, Security
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, SecurityScopes
from limits import parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import StorageError
from redis.asyncio import ConnectionPool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from app import Code
from app.settings import SCOPES, ApiKey, Settings

_KEY = re.compile(r"ak[0-9a-f]{10}_[A-Za-z0-9_-]{43}")
# Checked in place of a malformed key, so that rejecting it takes the same time.
_DUMMY = f"ak{'0' * 10}_{'0' * 43}"
# Seconds that a request waits for Redis, and until Redis is tried again after it did not answer.
_TIMEOUT = 0.5
_PAUSE = 10

_logger = logging.getLogger("uvicorn.error")


def new_key() -> str:
    """Return `<prefix>_<secret>`. The prefix names the key; the secret has 256 random bits."""
    return f"ak{secrets.token_hex(5)}_{secrets.token_urlsafe(32)}"


def digest_of(key: str, settings: Settings) -> str:
    """Return the digest that is kept of a key.

    HMAC-SHA256 is enough: nobody can guess a secret of 256 bits, however fast the digest is.
    """
    pepper = settings.api_key_pepper.get_secret_value()
    return hmac.digest(pepper.encode(), key.encode(), hashlib.sha256).hex()


def find_key(presented: list[str], settings: Settings) -> ApiKey | None:
    """Return the key that was presented, unless it is unknown, expired or not the only one."""
    is_well_formed = len(presented) == 1 and _KEY.fullmatch(presented[0])
    digest = digest_of(presented[0] if is_well_formed else _DUMMY, settings)
    # Each one is compared, in constant time, so that the time taken reveals nothing.
    found = [key for key in settings.api_keys if hmac.compare_digest(key.digest, digest)]
    now = datetime.now(UTC)
    return next((key for key in found if key.expires_at is None or key.expires_at > now), None)


async def check_key(
    request: Request,
    required: SecurityScopes,
    _: Annotated[
        str | None, Security(APIKeyHeader(name="X-API-Key", scheme_name="ApiKey", auto_error=False))
    ],
) -> None:
    """Require a key with the scopes of the route.

    Raises:
        HTTPException: 401, 403 or 429.
    """
    settings: Settings = request.app.state.settings
    limiter: RateLimiter = request.app.state.rate_limiter
    key = find_key(request.headers.getlist("X-API-Key"), settings)
    if key is None:
        raise HTTPException(401, Code.UNAUTHENTICATED, {"WWW-Authenticate": "APIKey"})
    if retry_after := await limiter.hit(key.digest):
        raise HTTPException(429, Code.RATE_LIMITED, {"Retry-After": str(retry_after)})
    if not key.scopes.issuperset(required.scopes):
        raise HTTPException(403, Code.INSUFFICIENT_SCOPE)
    request.state.may_read = "items:read" in key.scopes


class ScopedRoute(APIRoute):
    """A route that answers a key without the scope `items:read` with the id alone.

    Otherwise a key with `items:write` could read an item by changing nothing of it.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_scoped(request: Request) -> Response:
            response = await handle(request)
            if request.state.may_read or not response.body:
                return response
            content = json.loads(bytes(response.body))
            reduced = JSONResponse({"id": content["id"]}, response.status_code)
            own = {name for name, _ in reduced.raw_headers}
            reduced.raw_headers += [each for each in response.raw_headers if each[0] not in own]
            return reduced

        return handle_scoped


class RateLimiter:
    """Counts the calls of each key.

    While Redis does not answer, each process counts for itself: nobody is locked out, and the limit
    stays on. The counts of that time are not carried over.
    """

    def __init__(self, settings: Settings) -> None:
        self._limit = parse(settings.rate_limit_api_key)
        self._is_enabled = settings.rate_limit_enabled
        self._local = FixedWindowRateLimiter(MemoryStorage())
        self._shared: FixedWindowRateLimiter | None = None
        self._pool: ConnectionPool | None = None
        # By `time.monotonic()`.
        self._retry_at = 0.0
        uri = settings.rate_limit_storage_uri.get_secret_value()
        if uri != "memory://":
            self._pool = ConnectionPool.from_url(
                uri, socket_connect_timeout=_TIMEOUT, socket_timeout=_TIMEOUT
            )
            storage = RedisStorage(
                uri,
                wrap_exceptions=True,
                implementation="redispy",
                # Documented, but not in the types.
                connection_pool=self._pool,  # type: ignore[arg-type]
            )
            self._shared = FixedWindowRateLimiter(storage)

    async def hit(self, digest: str) -> int:
        """Count a call, and return the seconds to wait when there were too many; otherwise 0."""
        if not self._is_enabled:
            return 0
        if self._shared is not None and time.monotonic() >= self._retry_at:
            try:
                return await self._hit(self._shared, digest)
            except StorageError as error:
                self._retry_at = time.monotonic() + _PAUSE
                _logger.warning("Redis does not answer: %r", error.storage_error)
        return await self._hit(self._local, digest)

    async def _hit(self, limiter: FixedWindowRateLimiter, digest: str) -> int:
        if await limiter.hit(self._limit, "api_key", digest):
            return 0
        window = await limiter.get_window_stats(self._limit, "api_key", digest)
        return max(1, math.ceil(window.reset_time - time.time()))

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self._pool is not None:
            await self._pool.aclose()


@asynccontextmanager
async def count_calls(app: FastAPI) -> AsyncIterator[None]:
    """Count the calls of each key while the application runs."""
    app.state.rate_limiter = RateLimiter(app.state.settings)
    yield
    await app.state.rate_limiter.close()


class ApiKeyTransportMiddleware:
    """Moves the keys of a request, from where `API_KEY_TRANSPORTS` allows them, into its header.

    So there is one place to look and two keys are seen to be two. A key in the query is taken out
    of it, so that no log of errors has it.
    """

    def __init__(self, app: ASGIApp, *, transports: tuple[str, ...]) -> None:
        self.app = app
        self.transports = transports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            keys = [key for transport in self.transports for key in _READERS[transport](scope)]
            headers = MutableHeaders(scope=scope)
            del headers["X-API-Key"]
            for key in keys:
                headers.append("X-API-Key", key)
        await self.app(scope, receive, send)


def _read_authorization(scope: Scope) -> Iterator[str]:
    for value in Headers(scope=scope).getlist("Authorization"):
        scheme, _, key = value.partition(" ")
        if scheme.lower() in {"apikey", "bearer"}:
            yield key.strip()


def _read_cookie(scope: Scope) -> Iterator[str]:
    for value in Headers(scope=scope).getlist("Cookie"):
        for pair in value.split(";"):
            name, _, key = pair.strip().partition("=")
            if name == "api_key":
                yield key


def _read_header(scope: Scope) -> list[str]:
    return Headers(scope=scope).getlist("X-API-Key")


def _read_query(scope: Scope) -> list[str]:
    keys, rest = [], []
    for pair in scope["query_string"].decode("latin-1").split("&"):
        name, _, value = pair.partition("=")
        if unquote_plus(name) == "api_key":
            # A key is ASCII, as a header has to be.
            keys.append(unquote_plus(value).encode("ascii", "replace").decode())
        else:
            rest.append(pair)
    scope["query_string"] = "&".join(rest).encode("latin-1")
    return keys


_READERS = {
    "authorization": _read_authorization,
    "cookie": _read_cookie,
    "header": _read_header,
    "query": _read_query,
}

api_keys_cli = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")


@api_keys_cli.command()
def create(
    scope: Annotated[
        list[str] | None, typer.Option(help="What the key may do; by default, everything.")
    ] = None,
    expires_in_days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="By default, the key does not expire.")
    ] = None,
) -> None:
    """Create a key, and print it, its digest and its entry for API_KEYS."""
    if unknown := set(scope or ()) - set(SCOPES):
        raise typer.BadParameter(f"{', '.join(unknown)}: the scopes are {', '.join(SCOPES)}")
    key = new_key()
    digest = digest_of(key, Settings.load())
    expires_at = None
    if expires_in_days is not None:
        expires_at = datetime.now(UTC) + timedelta(days=expires_in_days)
    entry = ApiKey(digest, frozenset(scope or SCOPES), expires_at)
    typer.echo(f"Key, shown only now: {key}")
    typer.echo(f"Digest: {digest}")
    typer.echo(f"Entry of API_KEYS: {entry}")


@api_keys_cli.command("list")
def list_keys() -> None:
    """Print the entries of API_KEYS."""
    for key in Settings.load().api_keys:
        typer.echo(str(key))


@api_keys_cli.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its digest, the start of its digest, or the key.")],
) -> None:
    """Print API_KEYS without the key. The service refuses it once started with that value."""
    settings = Settings.load()
    digests = (key, digest_of(key, settings))
    found = [entry for entry in settings.api_keys if entry.digest.startswith(digests)]
    if len(found) != 1:
        # Without the argument, which may be a secret.
        typer.echo(f"{len(found)} entries of API_KEYS match.", err=True)
        raise typer.Exit(1)
    rest = [str(entry) for entry in settings.api_keys if entry not in found]
    typer.echo(f"API_KEYS={','.join(rest)}")
