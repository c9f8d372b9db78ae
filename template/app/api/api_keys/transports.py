"""Middleware that finds the API keys of a request."""

from collections.abc import Iterator
from urllib.parse import unquote_plus

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.middleware import forbid_storing
from app.core.settings import Settings

_HEADER = "X-API-Key"
_NAME = "api_key"
_SCHEMES = {"apikey", "bearer"}


def add_api_key_transports(app: FastAPI, settings: Settings) -> None:
    """Accept keys from the places that `API_KEY_TRANSPORTS` lists."""
    app.add_middleware(ApiKeyTransportMiddleware, transports=settings.api_key_transports)


class ApiKeyTransportMiddleware:
    """Move every key of a request into one header, and forbid caches to store the response.

    So a request with two keys is detected, and no handler or log sees a key in the query.
    """

    def __init__(self, app: ASGIApp, *, transports: list[str]) -> None:
        self.app = app
        self.transports = transports
        self.vary = ", ".join(_VARY[name] for name in transports if name in _VARY) or _HEADER

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            keys = [
                key
                for transport in self.transports
                # Any page can make a browser open a WebSocket, with its cookies.
                if not (transport == "cookie" and scope["type"] == "websocket")
                for key in _KEYS_OF[transport](scope)
            ]
            headers = MutableHeaders(scope=scope)
            del headers[_HEADER]
            for key in keys:
                headers.append(_HEADER, key)
            if keys:
                send = self._without_storing(send)
        await self.app(scope, receive, send)

    def _without_storing(self, send: Send) -> Send:
        async def send_without_storing(message: Message) -> None:
            if message["type"] == "http.response.start":
                forbid_storing(message, vary=self.vary)
            await send(message)

        return send_without_storing


def _in_header(scope: Scope) -> list[str]:
    return Headers(scope=scope).getlist(_HEADER)


def _in_authorization(scope: Scope) -> Iterator[str]:
    for value in Headers(scope=scope).getlist("Authorization"):
        scheme, _, key = value.partition(" ")
        if scheme.lower() in _SCHEMES:
            yield key.strip()


def _in_cookie(scope: Scope) -> Iterator[str]:
    for value in Headers(scope=scope).getlist("Cookie"):
        for pair in value.split(";"):
            name, _, key = pair.strip().partition("=")
            if name == _NAME:
                yield key


def _in_query(scope: Scope) -> list[str]:
    keys, rest = [], []
    for pair in scope["query_string"].decode("latin-1").split("&"):
        name, _, value = pair.partition("=")
        if unquote_plus(name) == _NAME:
            # A key is ASCII, as a header value must be.
            keys.append(unquote_plus(value).encode("ascii", "replace").decode())
        else:
            rest.append(pair)
    scope["query_string"] = "&".join(rest).encode("latin-1")
    return keys


# The header of the request on which a response depends.
_VARY = {"authorization": "Authorization", "cookie": "Cookie", "header": _HEADER}
_KEYS_OF = {
    "authorization": _in_authorization,
    "cookie": _in_cookie,
    "header": _in_header,
    "query": _in_query,
}
