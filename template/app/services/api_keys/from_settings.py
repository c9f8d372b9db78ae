"""Authentication with the API keys of the settings."""

from dataclasses import dataclass

from app.core.security.api_keys import digest_of, well_formed
from app.core.settings import Settings
from app.core.settings.api_keys_from_settings import find
from app.services.api_keys.errors import InvalidApiKeyError


@dataclass(frozen=True)
class Caller:
    """The key of the current request."""

    id: str
    scopes: frozenset[str]


class ApiKeyService:
    """The API keys of the settings, of which only digests are known."""

    def __init__(self, settings: Settings) -> None:
        self._keys = settings.api_keys
        self._pepper = settings.api_key_pepper.get_secret_value()

    async def authenticate(self, presented: list[str]) -> Caller:
        """Return the key that was presented.

        Raises:
            InvalidApiKeyError: it is unknown or expired, or it is not one key.
        """
        key = find(self._keys, digest_of(well_formed(presented), self._pepper))
        if key is None:
            raise InvalidApiKeyError
        return Caller(key.digest, key.scopes)
