"""Settings of rate limits."""

from typing import Annotated, Final

from limits import RateLimitItem, parse_many
from pydantic import AfterValidator, SecretStr
from redis import RedisError
from redis.asyncio import ConnectionPool

from app.core.settings.base import SettingsGroup

# Seconds. Counters in Redis need an expiry.
_LONGEST_LIMIT: Final = 366 * 24 * 60 * 60
# Errors of the Redis client for parts of a URL.
_NOT_A_STORAGE: Final = (RedisError, TypeError, ValueError)


def _check_rate_limit(value: str) -> str:
    try:
        [limit] = parse_many(value)
    except ValueError:
        raise ValueError("must be a count for a time, as in 10/minute") from None
    return _check_bounds(value, [limit])


def _check_rate_limits(value: str) -> str:
    try:
        limits = parse_many(value)
    except ValueError:
        raise ValueError("must be counts for times, as in 20/hour;100/day") from None
    return _check_bounds(value, limits)


def _check_bounds(value: str, limits: list[RateLimitItem]) -> str:
    if any(limit.amount == 0 or limit.get_expiry() > _LONGEST_LIMIT for limit in limits):
        raise ValueError("must be at least 1 for a year at most, as in 10/minute")
    return value


def _check_storage(value: SecretStr) -> SecretStr:
    uri = value.get_secret_value()
    if uri == "memory://":
        return value
    if not uri.startswith(("redis://", "rediss://")):
        raise ValueError("must be memory://, or as in redis://user:password@host:6379/0")
    try:
        pool = ConnectionPool.from_url(uri)
        # It accepts any part of the URL, and fails when the first connection is made.
        pool.connection_class(**pool.connection_kwargs)
    except _NOT_A_STORAGE:
        raise ValueError("has a port or a parameter that the Redis client does not know") from None
    return value


RateLimit = Annotated[str, AfterValidator(_check_rate_limit)]
# Several at once, separated by semicolons.
RateLimits = Annotated[str, AfterValidator(_check_rate_limits)]


class RateLimitSettings(SettingsGroup):
    """Storage of rate limits."""

    rate_limit_enabled: bool = True
    # With memory://, each process counts for itself; with redis://, all of them count together.
    rate_limit_storage_uri: Annotated[SecretStr, AfterValidator(_check_storage)] = SecretStr(
        "memory://"
    )
