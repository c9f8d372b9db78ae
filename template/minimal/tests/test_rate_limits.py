"""Counting calls, whether Redis answers or not."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest
from pydantic import SecretStr, ValidationError

from app.api_keys import RateLimiter
from app.settings import Settings


class Redis:
    """A server of the Redis protocol with counters: every script adds to one."""

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
    """A function that returns limiters which count in the same Redis."""
    server = await asyncio.start_server(Redis().serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    limiters = []

    def make() -> RateLimiter:
        limiters.append(limiter_of(f"redis://127.0.0.1:{port}"))
        return limiters[-1]

    async with server:
        yield make
        for limiter in limiters:
            await limiter.close()


def limiter_of(uri: str) -> RateLimiter:
    settings = Settings(rate_limit_api_key="2/minute", rate_limit_storage_uri=SecretStr(uri))
    return RateLimiter(settings)


async def test_more_calls_than_the_limit_wait_for_the_end_of_the_window() -> None:
    limiter = limiter_of("memory://")

    waits = [await limiter.hit("alice") for _ in range(3)]

    assert waits[:2] == [0, 0]
    assert 58 <= waits[2] <= 60
    assert await limiter.hit("bob") == 0


async def test_nothing_is_counted_when_limits_are_off() -> None:
    limiter = RateLimiter(Settings(rate_limit_enabled=False, rate_limit_api_key="2/minute"))

    assert [await limiter.hit("alice") for _ in range(3)] == [0, 0, 0]


async def test_processes_count_together_in_redis(shared: Callable[[], RateLimiter]) -> None:
    one, other = shared(), shared()
    await one.hit("alice")
    await other.hit("alice")

    assert 29 <= await one.hit("alice") <= 31
    assert await one.hit("bob") == 0


async def test_limits_hold_while_redis_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    limiter = limiter_of("redis://127.0.0.1:1")

    waits = [await limiter.hit("alice") for _ in range(3)]

    assert waits[:2] == [0, 0]
    assert waits[2] > 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    await limiter.close()


def test_unknown_storage_is_refused() -> None:
    with pytest.raises(ValidationError, match="must be memory://"):
        Settings(rate_limit_storage_uri=SecretStr("http://127.0.0.1"))


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
def test_storage_with_an_invalid_url_is_refused(uri: str) -> None:
    with pytest.raises(ValidationError, match="does not know") as refused:
        Settings(rate_limit_storage_uri=SecretStr(uri))

    assert "hunter2" not in str(refused.value)
