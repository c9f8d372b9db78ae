"""The HTTP edge: headers, origins, hosts, compression, documentation."""

import base64
import hashlib
import re

import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from fastapi import Response as FastAPIResponse
from httpx import AsyncClient, Response

from app import __version__
from app.api.docs import add_docs
from app.core.settings import Environment, Settings
from app.main import create_app
from tests.support.clients import client_of
from tests.support.problems import problem

ITEMS = "/api/v1/items"
ORIGIN = "https://shop.example.com"
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "PATCH"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(
        update={"allowed_hosts": ["test", "*.example.com"], "cors_origins": [ORIGIN]}
    )


# ── Headers ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/api/v1/health", ITEMS, "/nothing", "/docs", "/openapi.json"])
async def test_every_response_tells_browsers_what_not_to_do(client: AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert len(headers.get_list("Content-Security-Policy")) == 1
    assert "Strict-Transport-Security" not in headers


@pytest.mark.parametrize("environment", [Environment.STAGING, Environment.PRODUCTION])
async def test_deployed_service_is_reached_by_https_only(
    settings: Settings, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Loggers of a deployed service are made once, for good.
    monkeypatch.setattr("app.main.configure_logging", lambda _: None)
    app = create_app(settings.model_copy(update={"environment": environment}))

    response = await get(app, "/api/v1/health")

    assert response.headers["Strict-Transport-Security"].startswith("max-age=63072000")


async def get(app: FastAPI, path: str) -> Response:
    """Ask an application whose lifespan has not begun: enough for what touches no data."""
    async with client_of(app) as client:
        return await client.get(path)


# ── Origins ──────────────────────────────────────────────────────────────────────────────────────


async def test_known_origin_may_read_the_response(client: AsyncClient) -> None:
    response = await client.get(ITEMS, headers={"Origin": ORIGIN})

    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Location" in response.headers["Access-Control-Expose-Headers"]
    assert "Origin" in response.headers["Vary"]


async def test_known_origin_may_ask_with_any_method(client: AsyncClient) -> None:
    response = await client.options(
        ITEMS, headers={**PREFLIGHT, "Access-Control-Request-Headers": "authorization,content-type"}
    )

    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        assert method in response.headers["Access-Control-Allow-Methods"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example.com", f"{ORIGIN}.evil.com", "null", ORIGIN.upper()]
)
async def test_other_origin_is_refused(client: AsyncClient, origin: str) -> None:
    read = await client.get(ITEMS, headers={"Origin": origin})
    asked = await client.options(ITEMS, headers={**PREFLIGHT, "Origin": origin})

    assert "Access-Control-Allow-Origin" not in read.headers
    problem(asked, 400)
    assert "Access-Control-Allow-Origin" not in asked.headers


async def test_no_origin_is_known_unless_configured(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"cors_origins": []}))

    response = await get(app, "/api/v1/health")

    assert "Access-Control-Allow-Origin" not in response.headers


# ── Caches ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/api/v1/health", f"{ITEMS}?limit=1", f"{ITEMS}/1", "/nothing"])
async def test_no_cache_stores_what_a_caller_is_answered(client: AsyncClient, path: str) -> None:
    response = await client.get(path, headers={"Authorization": "Token x"})

    assert response.headers["Cache-Control"] == "no-store"
    assert "Authorization" in response.headers["Vary"]


async def test_route_may_say_itself_what_caches_store(app: FastAPI, client: AsyncClient) -> None:
    @app.get("/price")
    async def price(response: FastAPIResponse) -> int:
        response.headers["Cache-Control"] = "private, max-age=60"
        return 1

    response = await client.get("/price", headers={"Authorization": "Token x"})

    assert response.headers["Cache-Control"] == "private, max-age=60"


# ── Hosts ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("host", ["test", "test:8000", "shop.example.com", "SHOP.example.com"])
async def test_known_host_is_served(client: AsyncClient, host: str) -> None:
    assert (await client.get("/openapi.json", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("host", ["10.0.0.1:8000", "[fd00::1]", "evil.com", ""])
@pytest.mark.parametrize("path", ["/api/v1/health", "/api/v1/ready"])
async def test_probe_is_answered_whatever_the_host(
    client: AsyncClient, path: str, host: str
) -> None:
    assert (await client.get(path, headers={"Host": host})).status_code == 200
    assert (await client.head(path, headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("host", ["evil.com", "example.com.evil.com", "", "test.evil.com", "\xff"])
async def test_other_host_is_refused(client: AsyncClient, host: str) -> None:
    response = await client.get(ITEMS, headers=[(b"Host", host.encode("latin-1"))])

    problem(response, 400)
    assert int(response.headers["Content-Length"]) == len(response.content)


async def test_head_of_another_host_has_no_body(client: AsyncClient) -> None:
    response = await client.head(ITEMS, headers={"Host": "evil.com"})

    assert (response.status_code, response.content) == (400, b"")


@pytest.mark.parametrize("path", ["/api/v1/health/", f"{ITEMS}/", "/docs/", "//evil.com/docs"])
async def test_no_redirect_is_made_of_what_the_client_sent(client: AsyncClient, path: str) -> None:
    response = await client.get(f"http://test{path}", headers={"Host": "shop.example.com"})

    problem(response, 404)
    assert "Location" not in response.headers


async def test_location_is_a_path(client: AsyncClient) -> None:
    response = await client.post(
        ITEMS, json={"title": "Milk"}, headers={"Host": "shop.example.com"}
    )

    assert response.headers["Location"] == f"{ITEMS}/{response.json()['id']}"


# ── Compression ──────────────────────────────────────────────────────────────────────────────────


async def test_large_response_is_compressed(client: AsyncClient) -> None:
    await client.post(ITEMS, json={"title": "Milk", "description": "d" * 2000})

    compressed = await client.get(ITEMS, headers={"Accept-Encoding": "gzip"})
    plain = await client.get(ITEMS, headers={"Accept-Encoding": "identity"})

    assert compressed.headers["Content-Encoding"] == "gzip"
    assert int(compressed.headers["Content-Length"]) < len(plain.content)
    assert compressed.json() == plain.json()
    assert "Content-Encoding" not in plain.headers
    assert "Accept-Encoding" in plain.headers["Vary"]


async def test_small_response_is_not_compressed(client: AsyncClient) -> None:
    response = await client.get("/api/v1/health", headers={"Accept-Encoding": "gzip"})

    assert "Content-Encoding" not in response.headers


# ── Probes and documentation ─────────────────────────────────────────────────────────────────────


async def test_liveness(client: AsyncClient) -> None:
    response = await client.get("/api/v1/health")

    assert response.status_code == 200
    assert response.json() == {"status": "ok", "version": __version__}


async def test_liveness_shows_the_commit_of_the_build(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"commit": "9fceb02"}))

    assert (await get(app, "/api/v1/health")).json()["commit"] == "9fceb02"


async def test_readiness(client: AsyncClient) -> None:
    response = await client.get("/api/v1/ready")

    assert response.status_code == 200
    assert response.json()["status"] == "ready"


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect"])
async def test_page_runs_nothing_but_its_own_scripts(client: AsyncClient, path: str) -> None:
    response = await client.get(path)

    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/html")
    policy = response.headers["Content-Security-Policy"]
    assert "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
    for script in re.findall(r"<script>(.*?)</script>", response.text, re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_page_loads_nothing_from_elsewhere(client: AsyncClient, path: str) -> None:
    page = (await client.get(path)).text

    loaded = re.findall(r"""<(?:script|link|img)[^>]+(?:src|href)=["']([^"']+)""", page)

    assert loaded
    for url in loaded:
        assert url.startswith("/docs/assets/")
        asset = await client.get(url)
        assert asset.status_code == 200
        assert b"cdn." not in asset.content
    assert "/openapi.json" in page


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_title_adds_nothing_to_a_page(path: str) -> None:
    title = "</title><script>alert(1)</script>"
    app = FastAPI(title=title, docs_url=None, redoc_url=None)
    add_docs(app)

    page = (await get(app, path)).text

    assert "<title>&lt;/title&gt;&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


@pytest.mark.parametrize(
    "path", ["", "nothing.js", "..%2f..%2fpyproject.toml", "%00", "%2fetc%2fpasswd", "x" * 5000]
)
async def test_unknown_asset_is_not_found(client: AsyncClient, path: str) -> None:
    problem(await client.get(f"/docs/assets/{path}"), 404)


async def test_root_leads_to_the_documentation(client: AsyncClient) -> None:
    response = await client.get("/")

    assert (response.status_code, response.headers["Location"]) == (302, "/docs")


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/redoc", "/openapi.json", "/docs/assets/favicon.png"]
)
async def test_documentation_can_be_left_out(settings: Settings, path: str) -> None:
    app = create_app(settings.model_copy(update={"docs_enabled": False}))

    problem(await get(app, path), 404)


async def test_lifespan_may_run_again(settings: Settings) -> None:
    app = create_app(settings)

    for _ in range(2):
        async with LifespanManager(app):
            assert (await get(app, "/api/v1/health")).status_code == 200
