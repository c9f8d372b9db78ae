"""Rate limits, counted in memory or, for all processes together, in Redis."""

import math
import time
from contextlib import suppress
from functools import cache
from typing import Final

import structlog
from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import StorageError
from redis.asyncio import ConnectionPool

from app.core.errors import RateLimitedError
from app.core.settings import Settings

# Seconds that a request waits for Redis, and seconds before Redis is tried again after a timeout.
_PATIENCE: Final = 0.5
_PAUSE: Final = 10

_logger = structlog.get_logger(__name__)


class RateLimiter:
    """Counts attempts against limits.

    While Redis does not answer, each process counts for itself, so that limits still apply and no
    client is locked out. These counts are not copied to Redis afterwards.
    """

    def __init__(self, settings: Settings) -> None:
        self._enabled = settings.rate_limit_enabled
        self._own = FixedWindowRateLimiter(MemoryStorage())
        self._shared: FixedWindowRateLimiter | None = None
        self._pool: ConnectionPool | None = None
        # By `time.monotonic()`.
        self._try_again_at = 0.0
        uri = settings.rate_limit_storage_uri.get_secret_value()
        if uri != "memory://":
            self._pool = ConnectionPool.from_url(
                uri, socket_connect_timeout=_PATIENCE, socket_timeout=_PATIENCE
            )
            storage = RedisStorage(
                uri,
                wrap_exceptions=True,
                implementation="redispy",
                # Documented, but not in the types.
                connection_pool=self._pool,  # type: ignore[arg-type]
            )
            self._shared = FixedWindowRateLimiter(storage)

    async def hit(self, limit: str, *identifiers: str, factor: int = 1) -> None:
        """Count one attempt against a limit, as in `10/minute` or `20/hour;100/day`.

        The identifiers name the action and the client. `factor` multiplies the limit.

        Raises:
            RateLimitedError: the limit is exceeded.
        """
        if not self._enabled:
            return
        items = _parsed(limit, factor)
        if self._shared is not None and time.monotonic() >= self._try_again_at:
            try:
                await _hit(self._shared, items, identifiers)
            except StorageError as error:
                self._try_again_at = time.monotonic() + _PAUSE
                _logger.warning("rate_limit_storage_unavailable", cause=repr(error.storage_error))
            else:
                return
        await _hit(self._own, items, identifiers)

    async def clear(self, limit: str, *identifiers: str) -> None:
        """Forget the attempts that `hit` counted with the same arguments."""
        for item in _parsed(limit, 1):
            await self._own.clear(item, *identifiers)
            if self._shared is not None and time.monotonic() >= self._try_again_at:
                with suppress(StorageError):
                    await self._shared.clear(item, *identifiers)

    async def aclose(self) -> None:
        """Close every connection."""
        if self._pool is not None:
            await self._pool.aclose()


@cache
def _parsed(limit: str, factor: int) -> list[RateLimitItem]:
    return [type(item)(item.amount * factor, item.multiples) for item in parse_many(limit)]


async def _hit(
    limiter: FixedWindowRateLimiter, limits: list[RateLimitItem], identifiers: tuple[str, ...]
) -> None:
    for limit in limits:
        if not await limiter.hit(limit, *identifiers):
            window = await limiter.get_window_stats(limit, *identifiers)
            raise RateLimitedError(max(1, math.ceil(window.reset_time - time.time())))
