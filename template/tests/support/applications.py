"""Applications, used again by tests that ask for the same settings."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from starlette.datastructures import State

from app.core.logging import configure_logging
from app.core.settings import Settings
from app.main import create_app

# The first request makes FastAPI analyze every route, which takes longer than most tests.
_unused: deque[FastAPI] = deque(maxlen=8)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[FastAPI]:
    """Start an application, and stop it at the end.

    To add a route, to override a dependency and the like is safe: nobody gets that one again.
    """
    app = next((app for app in _unused if app.state.settings == settings), None)
    if app is None:
        app = create_app(settings)
    else:
        _unused.remove(app)
        # Every test has a standard output of its own.
        configure_logging(settings)
    parts = _parts(app)
    async with LifespanManager(app):
        yield app
    app.state = State({"settings": settings})
    if _parts(app) == parts:
        _unused.append(app)


def _parts(app: FastAPI) -> tuple[Any, ...]:
    """Return what can be added to or replaced."""
    return (
        [*app.routes],
        {**app.dependency_overrides},
        {**app.exception_handlers},
        [*app.user_middleware],
        app.openapi,
        app.router.lifespan_context,
    )
