"""Clients that call an application without a server in between."""

from collections.abc import Mapping
from typing import Any

from httpx import ASGITransport, AsyncClient


def client_of(
    app: Any,
    *,
    base_url: str = "http://test",
    headers: Mapping[str, str] | None = None,
    **connection: Any,
) -> AsyncClient:
    """Return a client, to which errors are answered rather than raised.

    `connection` can tell where it calls from, `client=(address, port)`, and the `root_path`.
    """
    transport = ASGITransport(app, raise_app_exceptions=False, **connection)
    return AsyncClient(transport=transport, base_url=base_url, headers=headers)
