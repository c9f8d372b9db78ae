"""Who may call: holders of a key of `API_KEYS`, as far and as often as it allows."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Request, Security
from fastapi.security import APIKeyHeader, SecurityScopes
from starlette.exceptions import HTTPException

from app.core.errors import RateLimitedError
from app.core.rate_limiter import RateLimiter
from app.core.security.api_keys import digest_of, well_formed
from app.core.settings import Settings
from app.core.settings.api_keys_from_settings import find


@asynccontextmanager
async def count_calls(app: FastAPI) -> AsyncIterator[None]:
    """Count the calls of each key while the application runs."""
    app.state.rate_limiter = RateLimiter(app.state.settings)
    yield
    await app.state.rate_limiter.aclose()


async def check_key(
    request: Request,
    required: SecurityScopes,
    _: Annotated[
        str | None, Security(APIKeyHeader(name="X-API-Key", scheme_name="ApiKey", auto_error=False))
    ],
) -> None:
    """Let in who presents a key that allows what the route requires."""
    settings: Settings = request.app.state.settings
    limiter: RateLimiter = request.app.state.rate_limiter
    presented = well_formed(request.headers.getlist("X-API-Key"))
    key = find(settings.api_keys, digest_of(presented, settings.api_key_pepper.get_secret_value()))
    if key is None:
        raise HTTPException(401, "Unauthenticated", {"WWW-Authenticate": "APIKey"})
    try:
        await limiter.hit(settings.rate_limit_api_key, "api_key", key.digest)
    except RateLimitedError as error:
        raise HTTPException(429, "Rate limited", {"Retry-After": str(error.retry_after)}) from None
    if not key.scopes.issuperset(required.scopes):
        raise HTTPException(403, "Insufficient scope")
