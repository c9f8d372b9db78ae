"""A small OpenID Connect provider, served over HTTP, and a browser to log in there with.

Tests make it misbehave: `claims`, `userinfo`, `metadata` and `answers` change what it says.
"""

import base64
import json
import secrets
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
import uvicorn
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core.util import create_half_hash
from fastapi import FastAPI
from httpx import AsyncClient
from joserfc import jws
from joserfc.jwk import Key, KeySet, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from app.core.settings import Settings
from tests.support.clients import client_of

OIDC = "/api/v1/auth/oidc"
CLIENT_ID = "our-client"
CLIENT_SECRET = "our secret there"
SERVICE = "http://127.0.0.1:8000"

# Browsers of the tests speak no TLS, and reading the usual authorities would take 30 ms each.
_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Provider:
    """One provider; whoever is sent there is Carol, and agrees."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.issuer = ""
        # Once for all tests: it takes longer than any of them.
        self._first_key = RSAKey.generate_key(2048, auto_kid=True)
        self.reset()

    def reset(self) -> None:
        """Behave well again, and forget everything."""
        self.key = self._first_key
        self.names_keys = True
        self.person: dict[str, Any] = {
            "sub": "carol-1",
            "email": "carol@example.com",
            "email_verified": True,
            "name": "Carol",
        }
        self.claims: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.answers: dict[str, Response] = {}
        self.sign: Callable[[dict[str, Any]], str] = self.sign_well
        self.requests: list[str] = []
        self.token_requests: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}
        self._access_tokens: set[str] = set()

    def rotate_key(self) -> None:
        self.key = RSAKey.generate_key(2048, auto_kid=True)

    def sign_well(self, claims: dict[str, Any]) -> str:
        kid = {"kid": self.key.kid} if self.names_keys else {}
        return signed(claims, {"alg": "RS256", **kid}, self.key)

    @property
    def configured(self) -> dict[str, Any]:
        return {
            "discovery_url": f"{self.issuer}/.well-known/openid-configuration",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        }

    # ── Endpoints ────────────────────────────────────────────────────────────────────────────────

    def application(self) -> Starlette:
        endpoints = {
            "/.well-known/openid-configuration": self._describe,
            "/jwks": self._keys,
            "/authorize": self._authorize,
            "/token": self._tokens,
            "/userinfo": self._userinfo,
        }
        return Starlette(
            routes=[
                Route(path, self._endpoint(path, answer), methods=["GET", "POST"])
                for path, answer in endpoints.items()
            ]
        )

    def _endpoint(self, path: str, answer: Callable[..., Any]) -> Callable[..., Any]:
        async def endpoint(request: Request) -> Response:
            self.requests.append(path)
            response: Response = self.answers.get(path) or await answer(request)
            return response

        return endpoint

    async def _describe(self, _request: Request) -> Response:
        metadata = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
            "authorization_response_iss_parameter_supported": True,
        }
        return JSONResponse(_changed(metadata, self.metadata))

    async def _keys(self, _request: Request) -> Response:
        (key,) = KeySet([self.key]).as_dict(private=False)["keys"]
        if not self.names_keys:
            key = {name: value for name, value in key.items() if name != "kid"}
        return JSONResponse({"keys": [key]})

    async def _authorize(self, request: Request) -> Response:
        query = dict(request.query_params)
        is_good = (
            query.get("client_id") == CLIENT_ID
            and query.get("redirect_uri") == f"{SERVICE}{OIDC}/{self.name}/callback"
            and query.get("response_type") == "code"
            and query.get("code_challenge_method") == "S256"
            and "openid" in query.get("scope", "").split()
        )
        if not is_good:
            return Response("refused", 400)
        code = secrets.token_urlsafe()
        self._codes[code] = query
        response = {"code": code, "state": query["state"], "iss": self.issuer}
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode(response)}", 302)

    async def _tokens(self, request: Request) -> Response:
        form = {name: str(value) for name, value in parse_qsl((await request.body()).decode())}
        self.token_requests.append(form)
        credentials = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        is_ours = request.headers.get("Authorization") == f"Basic {credentials}" or (
            form.get("client_id"),
            form.get("client_secret"),
        ) == (CLIENT_ID, CLIENT_SECRET)
        if not is_ours:
            return JSONResponse({"error": "invalid_client"}, 401)
        asked = self._codes.pop(form.get("code", ""), None)
        if (
            asked is None
            or form.get("redirect_uri") != asked["redirect_uri"]
            or create_s256_code_challenge(form.get("code_verifier", "")) != asked["code_challenge"]
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        access_token = secrets.token_urlsafe()
        self._access_tokens.add(access_token)
        now = int(time.time())
        claims = {
            **self.person,
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "nonce": asked["nonce"],
            "iat": now,
            "exp": now + 300,
            "at_hash": create_half_hash(access_token, "RS256").decode(),
        }
        tokens = {"access_token": access_token, "token_type": "Bearer", "expires_in": 300}
        return JSONResponse({**tokens, "id_token": self.sign(_changed(claims, self.claims))})

    async def _userinfo(self, request: Request) -> Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self._access_tokens:
            return JSONResponse({"error": "invalid_token"}, 401)
        return JSONResponse(_changed(self.person, self.userinfo))


def signed(claims: dict[str, Any], header: dict[str, Any], key: Key) -> str:
    """Return the claims, whatever they are, as a token."""
    return jws.serialize_compact(header, json.dumps(claims).encode(), key, [header["alg"]])


def _changed(members: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return the members with the changes; None removes one."""
    return {name: value for name, value in {**members, **changes}.items() if value is not None}


@contextmanager
def _served(provider: Provider) -> Iterator[Provider]:
    config = uvicorn.Config(provider.application(), port=0, lifespan="off", log_config=None)
    with config.bind_socket() as socket:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        provider.issuer = f"http://127.0.0.1:{socket.getsockname()[1]}"
        try:
            yield provider
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def served_providers() -> Iterator[dict[str, Provider]]:
    with _served(Provider("one")) as one, _served(Provider("other")) as other:
        yield {"one": one, "other": other}


@pytest.fixture
def provider(served_providers: dict[str, Provider]) -> Provider:
    served_providers["one"].reset()
    return served_providers["one"]


@pytest.fixture
def other_provider(served_providers: dict[str, Provider]) -> Provider:
    served_providers["other"].reset()
    return served_providers["other"]


@pytest.fixture
def oidc_settings(provider: Provider, other_provider: Provider) -> Settings:
    """Settings with both providers."""
    return Settings(
        oidc_providers={one.name: one.configured for one in (provider, other_provider)},
        oidc_next_paths=["/account"],
        public_url=SERVICE,
    )


class Browser:
    """What a person uses: it keeps cookies, and is sent from here to there and back."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.client = client_of(app, base_url=SERVICE)

    async def begins(self, provider: str = "one", **query: str) -> str:
        """Start a login, and return where it leads."""
        response = await self.client.get(f"{OIDC}/{provider}/login", params=query)
        assert response.status_code == 302, response.text
        return response.headers["Location"]

    async def agrees(self, authorization_url: str) -> str:
        """Log in at the provider, and return where it leads back to."""
        async with AsyncClient(verify=_NO_AUTHORITIES) as outside:
            response = await outside.get(authorization_url)
        assert response.status_code == 302, response.text
        return response.headers["Location"]

    async def comes_back(self, callback_url: str, **changes: str | None) -> httpx.Response:
        """Follow the provider's redirect, with some of its parameters changed; None removes one."""
        url = urlsplit(callback_url)
        query = _changed(dict(parse_qsl(url.query)), changes)
        return await self.client.get(url.path, params=query)

    async def logs_in(self, provider: str = "one", **query: str) -> httpx.Response:
        return await self.comes_back(await self.agrees(await self.begins(provider, **query)))


@pytest.fixture
async def browser(app: FastAPI) -> AsyncIterator[Browser]:
    browser = Browser(app)
    yield browser
    await browser.client.aclose()


@pytest.fixture
async def another_browser(app: FastAPI) -> AsyncIterator[Browser]:
    browser = Browser(app)
    yield browser
    await browser.client.aclose()
