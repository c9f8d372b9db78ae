"""Providers that are down, slow, or do not answer as providers."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from httpx import Response
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse
from starlette.responses import Response as Answer

from app.core.settings import Settings
from app.core.settings.oidc import OidcProvider
from app.services.oidc import provider as oidc_provider
from app.services.oidc.errors import ProviderError
from tests.support.oidc_provider import OIDC, Browser, Provider

METADATA = "/.well-known/openid-configuration"
BROKEN = (502, "provider_error")
SLOW = (504, "provider_timeout")


@pytest.fixture
async def silent_url() -> AsyncIterator[str]:
    """A server that accepts connections and never answers."""
    over = asyncio.Event()

    async def wait(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    over.set()
    server.close()


@pytest.fixture
def settings(oidc_settings: Settings, silent_url: str) -> Settings:
    issuers = {"silent": silent_url, "absent": "http://127.0.0.1:1"}
    providers = {
        name: {"issuer": issuer, "client_id": "a", "client_secret": "b"}
        for name, issuer in issuers.items()
    }
    more = Settings(oidc_providers=providers).oidc_providers
    return oidc_settings.model_copy(
        update={"oidc_providers": {**oidc_settings.oidc_providers, **more}}
    )


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc_provider, "PATIENCE", 0.1)


def outcome(response: Response) -> tuple[int, str]:
    assert response.headers["Content-Type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


async def begin(browser: Browser, name: str = "one") -> tuple[int, str]:
    return outcome(await browser.client.get(f"{OIDC}/{name}/login"))


# ── Before the login ─────────────────────────────────────────────────────────────────────────────


async def test_provider_that_is_down(browser: Browser) -> None:
    assert await begin(browser, "absent") == BROKEN


@pytest.mark.usefixtures("_impatient")
async def test_provider_that_does_not_answer(browser: Browser) -> None:
    assert await begin(browser, "silent") == SLOW


@pytest.mark.usefixtures("_impatient")
async def test_nobody_waits_longer_because_others_wait_too(browser: Browser) -> None:
    async with asyncio.timeout(2):
        outcomes = await asyncio.gather(*(begin(browser, "silent") for _ in range(10)))

    assert outcomes == [SLOW] * 10


@pytest.mark.parametrize(
    "answer",
    [
        Answer("down", 503),
        JSONResponse({"error": "down"}, 503),
        HTMLResponse("<html>"),
        JSONResponse([]),
        Answer("[" * 100_000),
        Answer(" " * 300_000 + "{}"),
        Answer('{"issuer": "\xff"}'.encode("latin-1")),
        Answer(b"{}", headers={"Content-Encoding": "gzip"}),
        JSONResponse({}),
        # Nobody is led elsewhere by a redirect.
        RedirectResponse("/elsewhere"),
    ],
    ids=[
        "text",
        "error",
        "html",
        "list",
        "deep",
        "long",
        "latin-1",
        "compressed",
        "empty",
        "redirect",
    ],
)
async def test_provider_that_does_not_describe_itself(
    browser: Browser, provider: Provider, answer: Answer
) -> None:
    provider.answers[METADATA] = answer

    assert await begin(browser) == BROKEN
    assert provider.requests == [METADATA]


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": None},
        {"issuer": "https://evil.example.com"},
        {"authorization_endpoint": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": "file:///etc/passwd"},
        {"token_endpoint": "https://[::1"},
        {"jwks_uri": 5},
    ],
)
async def test_description_that_is_no_providers(
    browser: Browser, provider: Provider, metadata: dict[str, Any]
) -> None:
    provider.metadata = metadata

    assert await begin(browser) == BROKEN


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"keys": []},
        {"keys": None},
        {"keys": ["key"]},
        {"keys": [{"kty": "RSA", "n": 5}]},
        {"keys": [{"kty": "unheard of"}]},
    ],
)
async def test_keys_that_cannot_be_read(
    browser: Browser, provider: Provider, keys: dict[str, Any]
) -> None:
    provider.answers["/jwks"] = JSONResponse(keys)

    assert await begin(browser) == BROKEN


async def test_provider_that_is_up_again_is_asked_again(
    browser: Browser, provider: Provider
) -> None:
    provider.answers[METADATA] = Answer("down", 503)
    await begin(browser)
    provider.answers.clear()

    assert (await browser.logs_in()).status_code == 200


async def test_provider_reached_by_tls_leads_nowhere_without_it(
    monkeypatch: pytest.MonkeyPatch, provider: Provider
) -> None:
    issuer = "https://id.example.com"
    metadata = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": "http://id.example.com/token",
        "jwks_uri": f"{issuer}/keys",
    }

    async def answer(_transport: object, _request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, stream=httpx2.ByteStream(json.dumps(metadata).encode()))

    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", answer)
    configured = OidcProvider(**{**provider.configured, "discovery_url": None, "issuer": issuer})
    client = oidc_provider.OidcProviderClient("one", configured, "https://api.example.com")

    with pytest.raises(ProviderError):
        await client.authorization_url("state", "nonce", "verifier")


# ── After it ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/token", "/userinfo"])
@pytest.mark.parametrize(
    "answer",
    [
        Answer("down", 503),
        JSONResponse({"error": "temporarily_unavailable"}, 503),
        JSONResponse({"error": "invalid_client"}, 401),
        HTMLResponse("<html>"),
        RedirectResponse("/elsewhere", 307),
    ],
    ids=["text", "error", "client", "html", "redirect"],
)
async def test_provider_that_fails_during_a_login(
    browser: Browser, provider: Provider, path: str, answer: Answer
) -> None:
    provider.claims = {"email": None}
    provider.answers[path] = answer

    assert outcome(await browser.logs_in()) == BROKEN
    assert provider.requests[-1] == path


async def test_provider_that_is_gone_during_a_login(browser: Browser, provider: Provider) -> None:
    provider.metadata = {"token_endpoint": "http://127.0.0.1:1/token"}

    assert outcome(await browser.logs_in()) == BROKEN


@pytest.mark.usefixtures("_impatient")
async def test_provider_that_falls_silent_during_a_login(
    browser: Browser, provider: Provider, silent_url: str
) -> None:
    provider.metadata = {"token_endpoint": silent_url}

    assert outcome(await browser.logs_in()) == SLOW
