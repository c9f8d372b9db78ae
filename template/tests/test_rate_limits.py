"""Counting attempts, whether Redis answers or not."""

import pytest
from pydantic import ValidationError

from app.core.auth_errors import RateLimitedError
from app.core.rate_limits import RateLimiter
from app.core.settings import Settings


async def test_more_than_the_limit_is_refused_until_the_window_ends() -> None:
    limiter = RateLimiter(Settings())
    await limiter.hit("2/minute", "alice")
    await limiter.hit("2/minute", "alice")

    with pytest.raises(RateLimitedError) as refused:
        await limiter.hit("2/minute", "alice")

    assert 58 <= refused.value.retry_after <= 60


async def test_each_caller_is_counted_alone() -> None:
    limiter = RateLimiter(Settings())
    await limiter.hit("1/minute", "alice")

    await limiter.hit("1/minute", "bob")


async def test_nothing_is_counted_when_limits_are_off() -> None:
    limiter = RateLimiter(Settings(rate_limit_enabled=False))

    for _ in range(3):
        await limiter.hit("2/minute", "alice")


async def test_limits_hold_while_redis_does_not_answer() -> None:
    limiter = RateLimiter(Settings(rate_limit_storage_uri="redis://127.0.0.1:1"))
    await limiter.hit("2/minute", "alice")
    await limiter.hit("2/minute", "alice")

    with pytest.raises(RateLimitedError):
        await limiter.hit("2/minute", "alice")

    await limiter.close()


def test_unknown_storage_is_refused() -> None:
    with pytest.raises(ValidationError, match="must be memory://"):
        Settings(rate_limit_storage_uri="http://127.0.0.1")
