"""API keys for tests."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fastapi import FastAPI

from app.api_keys import digest_of, new_key
from app.settings import ApiKey, Settings


@dataclass
class Keys:
    """The API keys of an application."""

    app: FastAPI

    def create(self, *scopes: str, lifetime: timedelta | None = None) -> str:
        """Return a new key, which the settings of the application now have."""
        key = new_key()
        settings: Settings = self.app.state.settings
        expires_at = None if lifetime is None else datetime.now(UTC) + lifetime
        entry = ApiKey(digest_of(key, settings), frozenset(scopes), expires_at)
        self.app.state.settings = settings.model_copy(
            update={"api_keys": (*settings.api_keys, entry)}
        )
        return key
