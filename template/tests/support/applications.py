"""Applications for a single test, with their own settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from app.core.settings import Settings
from app.main import create_app


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[FastAPI]:
    """Start a new application, and stop it at the end."""
    app = create_app(settings)
    async with LifespanManager(app):
        yield app
