"""Counting attempts, whether Redis answers or not."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest
from pydantic import SecretStr, ValidationError

from app.core.errors import RateLimitedError
from app.core.rate_limiter import RateLimiter
from app.core.settings import Settings


class Redis:
    """A Redis server, as little of one as counts: each script is taken for the one that adds."""

    def __init__(self) -> None:
        self.counts: Counter[bytes] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            parts = [await self._part(reader) for _ in range(int(head[1:]))]
            writer.write(self._answer(*parts))
        writer.close()

    async def _part(self, reader: asyncio.StreamReader) -> bytes:
        length = int((await reader.readline())[1:])
        return (await reader.readexactly(length + 2))[:-2]

    def _answer(self, command: bytes, *arguments: bytes) -> bytes:
        match command.upper(), arguments:
            case b"EVALSHA", (_, b"1", key, _, amount):
                self.counts[key] += int(amount)
                return b":%d\r\n" % self.counts[key]
            case b"GET", (key,):
                count = b"%d" % self.counts[key]
                return b"$%d\r\n%s\r\n" % (len(count), count)
            case b"TTL", _:
                return b":30\r\n"
        return b"+OK\r\n"


@pytest.fixture
async def shared() -> AsyncIterator[Callable[[], RateLimiter]]:
    """A function that returns a limiter, of which all count in one Redis."""
    server = await asyncio.start_server(Redis().serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    limiters = []

    def make() -> RateLimiter:
        limiters.append(
            RateLimiter(Settings(rate_limit_storage_uri=SecretStr(f"redis://127.0.0.1:{port}")))
        )
        return limiters[-1]

    async with server:
        yield make
        for limiter in limiters:
            await limiter.aclose()


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


async def test_processes_count_together_in_redis(shared: Callable[[], RateLimiter]) -> None:
    one, other = shared(), shared()
    await one.hit("2/minute", "alice")
    await other.hit("2/minute", "alice")

    with pytest.raises(RateLimitedError) as refused:
        await one.hit("2/minute", "alice")

    assert 29 <= refused.value.retry_after <= 31
    await one.hit("2/minute", "bob")


async def test_limits_hold_while_redis_does_not_answer() -> None:
    limiter = RateLimiter(Settings(rate_limit_storage_uri="redis://127.0.0.1:1"))
    await limiter.hit("2/minute", "alice")
    await limiter.hit("2/minute", "alice")

    with pytest.raises(RateLimitedError):
        await limiter.hit("2/minute", "alice")

    await limiter.aclose()


def test_unknown_storage_is_refused() -> None:
    with pytest.raises(ValidationError, match="must be memory://"):
        Settings(rate_limit_storage_uri="http://127.0.0.1")


@pytest.mark.parametrize(
    "uri",
    [
        "redis://hunter2:99999",
        "redis://user:hunter2#@host:6379",
        "redis://host?hunter2=1",
        "redis://host?socket_timeout=hunter2",
        "redis://host?protocol=9",
        "rediss://host?ssl_cert_reqs=hunter2",
    ],
)
def test_storage_that_cannot_be_connected_to_is_refused(uri: str) -> None:
    with pytest.raises(ValidationError, match="does not know") as refused:
        Settings(rate_limit_storage_uri=uri)

    assert "hunter2" not in str(refused.value)
