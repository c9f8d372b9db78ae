"""The queue of passwords to be hashed."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from starlette.types import Message

from app.core.security.passwords import MAX_PENDING, BusyError, get_hasher, hash_password
from app.core.settings import Settings
from tests.support.accounts import PASSWORD, Account

SETTINGS = Settings()


@pytest.fixture
def hashed() -> list[str]:
    """The passwords that were hashed, each as soon as `gate` opens."""
    return []


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, hashed: list[str]) -> Iterator[threading.Event]:
    """Until it opens, no hash is finished."""
    gate = threading.Event()

    def hash_behind_gate(password: str) -> str:
        gate.wait(timeout=30)
        hashed.append(password)
        return password

    monkeypatch.setattr(get_hasher(*SETTINGS.password_hash_cost), "hash", hash_behind_gate)
    yield gate
    gate.set()


@pytest.fixture
async def full_queue(gate: threading.Event) -> AsyncIterator[list[asyncio.Task[str]]]:
    """As many passwords as may wait."""
    tasks = [
        asyncio.create_task(hash_password(f"password {n}", SETTINGS)) for n in range(MAX_PENDING)
    ]
    await asyncio.sleep(0)
    yield tasks
    gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.usefixtures("full_queue")
async def test_password_beyond_the_queue_is_refused_at_once() -> None:
    with pytest.raises(BusyError):
        await hash_password(PASSWORD, SETTINGS)


@pytest.mark.usefixtures("full_queue")
async def test_login_beyond_the_queue_is_told_when_to_come_back(
    anonymous: AsyncClient, alice: Account
) -> None:
    form = {"username": alice.email, "password": PASSWORD}

    response = await anonymous.post("/api/v1/auth/login", data=form)

    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0


async def test_queue_takes_passwords_again_when_some_are_done(
    full_queue: list[asyncio.Task[str]], gate: threading.Event
) -> None:
    gate.set()
    await asyncio.gather(*full_queue)

    assert await hash_password(PASSWORD, SETTINGS) == PASSWORD


async def test_cancelled_password_is_not_hashed(
    full_queue: list[asyncio.Task[str]], gate: threading.Event, hashed: list[str]
) -> None:
    for task in full_queue:
        task.cancel()
    await asyncio.gather(*full_queue, return_exceptions=True)
    gate.set()

    await hash_password(PASSWORD, SETTINGS)

    # The threads had begun with four of them.
    assert len(hashed) <= 4 + 1
    assert PASSWORD in hashed


async def test_password_of_a_client_that_hung_up_is_not_hashed(
    app: FastAPI, full_queue: list[asyncio.Task[str]], gate: threading.Event, hashed: list[str]
) -> None:
    full_queue.pop().cancel()
    await asyncio.sleep(0)
    body = b'{"email": "carol@example.com", "password": "of a client that is gone"}'
    request: list[Message] = [
        {"type": "http.request", "body": body},
        {"type": "http.disconnect"},
    ]
    messages = iter(request)
    statuses: list[int] = []

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(
        {
            "type": "http",
            "method": "POST",
            "path": "/api/v1/auth/sign-up",
            "raw_path": b"/api/v1/auth/sign-up",
            "query_string": b"",
            "headers": [(b"host", b"test"), (b"content-type", b"application/json")],
            "client": ("192.0.2.1", 1234),
        },
        receive,
        send,
    )
    gate.set()
    await asyncio.gather(*full_queue)

    assert statuses == [503]
    assert "of a client that is gone" not in hashed


async def test_work_is_done_while_the_client_waits(anonymous: AsyncClient, alice: Account) -> None:
    form = {"username": alice.email, "password": PASSWORD}

    assert (await anonymous.post("/api/v1/auth/login", data=form)).status_code == 200
