"""The setting `API_KEYS`: digests of keys, with scopes and expiry."""

import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Self, get_args

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from app.core.security.scopes import Scope
from app.core.settings.api_keys import ApiKeySettings

# The scopes that a key can have.
SCOPES: Final[tuple[str, ...]] = get_args(Scope)

_DIGEST_LENGTH: Final = 64


@dataclass(frozen=True)
class ConfiguredKey:
    """A key in the settings: its digest only, with which nobody can call."""

    digest: str
    scopes: frozenset[str]
    expires_at: datetime | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `digest/scope+scope/expiry`; a digest alone has every scope and never expires.

        Raises:
            ValueError: the text has another form.
        """
        digest, _, rest = text.strip().partition("/")
        names, _, expiry = rest.partition("/")
        scopes = frozenset(names.split("+")) if names else frozenset(SCOPES)
        if len(digest) != _DIGEST_LENGTH or not set(digest) <= set("0123456789abcdef"):
            raise ValueError("must start with a digest: `python -m app api-keys create` prints it")
        if not scopes <= set(SCOPES):
            raise ValueError(f"has an unknown scope; there are {', '.join(SCOPES)}")
        return cls(digest, scopes, _moment(expiry) if expiry else None)

    def __str__(self) -> str:
        expiry = f"/{self.expires_at:%Y-%m-%dT%H:%M:%SZ}" if self.expires_at else ""
        return f"{self.digest}/{'+'.join(sorted(self.scopes))}{expiry}"


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("has an expiry that is not a date, as in 2030-12-31") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# Errors for text that is not JSON, is nested too deep, or has values other than strings.
_MALFORMED: Final = (AttributeError, json.JSONDecodeError, RecursionError)


def _parse_all(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        texts = json.loads(value) if value.lstrip().startswith("[") else value.split(",")
        return [ConfiguredKey.parse(text) for text in texts if text.strip()]
    except _MALFORMED:
        raise ValueError("is neither a JSON list of text nor comma-separated text") from None


class ApiKeyListSettings(ApiKeySettings):
    """API keys that are kept in the settings."""

    # `python -m app api-keys create` prints an entry.
    api_keys: Annotated[tuple[ConfiguredKey, ...], NoDecode, BeforeValidator(_parse_all)] = ()


def find(keys: tuple[ConfiguredKey, ...], digest: str) -> ConfiguredKey | None:
    """Return the key with this digest, unless it has expired.

    Every digest is compared, in constant time, to prevent timing attacks.
    """
    found = [key for key in keys if hmac.compare_digest(key.digest, digest)]
    now = datetime.now(UTC)
    return next((key for key in found if key.expires_at is None or key.expires_at > now), None)
