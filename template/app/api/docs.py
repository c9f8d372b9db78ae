"""Swagger UI and ReDoc, served from the application's own origin without a CDN."""

import base64
import hashlib
import html
import re
from functools import cache
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, Request, status
from fastapi.openapi.docs import (
    get_redoc_html,
    get_swagger_ui_html,
    get_swagger_ui_oauth2_redirect_html,
)
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from app.api.paths import public_path

_ASSETS = Path(fastapi_offline.__file__).parent / "static"
# ReDoc would load its vendor's logo from another host.
_REDOC_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
_NO_IMAGE = b"data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def add_docs(app: FastAPI) -> None:
    """Serve `/docs` and `/redoc`, and send `/` to the former."""
    assets = StaticFiles(directory=_ASSETS)
    # FastAPI writes it into the pages as it stands.
    title = html.escape(app.title)

    @app.get("/", include_in_schema=False)
    async def to_docs(request: Request) -> RedirectResponse:
        return RedirectResponse(public_path(request.scope, "/docs"), status.HTTP_302_FOUND)

    @app.get("/docs/assets/redoc.standalone.js", include_in_schema=False)
    async def redoc_script() -> Response:
        return Response(_redoc_script(), media_type="text/javascript")

    @app.get("/docs/assets/{path:path}", include_in_schema=False)
    async def asset(path: str, request: Request) -> Response:
        return await assets.get_response(path, request.scope)

    @app.get("/docs", include_in_schema=False)
    async def swagger_ui(request: Request) -> HTMLResponse:
        root = public_path(request.scope, "")
        return _page(
            get_swagger_ui_html(
                openapi_url=f"{root}{app.openapi_url}",
                title=title,
                swagger_js_url=f"{root}/docs/assets/swagger-ui-bundle.js",
                swagger_css_url=f"{root}/docs/assets/swagger-ui.css",
                swagger_favicon_url=f"{root}/docs/assets/favicon.png",
                oauth2_redirect_url=f"{root}{app.swagger_ui_oauth2_redirect_url}",
            )
        )

    @app.get("/docs/oauth2-redirect", include_in_schema=False)
    async def swagger_ui_redirect() -> HTMLResponse:
        return _page(get_swagger_ui_oauth2_redirect_html())

    @app.get("/redoc", include_in_schema=False)
    async def redoc(request: Request) -> HTMLResponse:
        root = public_path(request.scope, "")
        return _page(
            get_redoc_html(
                openapi_url=f"{root}{app.openapi_url}",
                title=title,
                redoc_js_url=f"{root}/docs/assets/redoc.standalone.js",
                redoc_favicon_url=f"{root}/docs/assets/favicon.png",
                with_google_fonts=False,
            )
        )


@cache
def _redoc_script() -> bytes:
    script = (_ASSETS / "redoc.standalone.js").read_bytes()
    return script.replace(_REDOC_LOGO, _NO_IMAGE)


def _page(page: HTMLResponse) -> HTMLResponse:
    """Set a content security policy that allows only own assets and these inline scripts."""
    scripts = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in _INLINE_SCRIPT.findall(bytes(page.body).decode())
    ]
    page.headers["Content-Security-Policy"] = "; ".join(
        [
            "default-src 'none'",
            "connect-src 'self'",
            "font-src 'self' data:",
            "frame-ancestors 'none'",
            "img-src 'self' data:",
            " ".join(["script-src 'self'", *(f"'sha256-{script}'" for script in scripts)]),
            # Both pages add inline styles.
            "style-src 'self' 'unsafe-inline'",
            # ReDoc runs its search in a worker from a blob URL.
            "worker-src blob:",
        ]
    )
    return page
