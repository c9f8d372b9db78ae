"""The settings of the service and of its API keys."""

import errno
import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Self

from limits import parse_many
from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode
from redis import RedisError
from redis.asyncio import ConnectionPool

from app import EnvSettings

SCOPES = ("items:read", "items:write")
TRANSPORTS = ("authorization", "cookie", "header", "query")
DEVELOPMENT_PEPPER = Path(".keys/api_key_pepper")

_DIGEST_LENGTH = 64
_PEPPER_LENGTH = 32
# In seconds. Redis cannot count for much longer.
_LONGEST_PERIOD = 366 * 24 * 60 * 60
# Raised for text that is not JSON, is nested too deep, or is JSON of something else.
_MALFORMED = (AttributeError, json.JSONDecodeError, RecursionError)
# Raised by Redis' client for parts of a URL.
_INVALID_URL = (RedisError, TypeError, ValueError)


@dataclass(frozen=True)
class ApiKey:
    """An entry of `API_KEYS`. It has the digest of a key, which is no use to a caller."""

    digest: str
    scopes: frozenset[str]
    expires_at: datetime | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `digest/scope+scope/expiry`; a digest alone has every scope and does not expire.

        Raises:
            ValueError: the text is something else.
        """
        digest, _, rest = text.strip().partition("/")
        names, _, expiry = rest.partition("/")
        scopes = frozenset(names.split("+")) if names else frozenset(SCOPES)
        if len(digest) != _DIGEST_LENGTH or not set(digest) <= set("0123456789abcdef"):
            raise ValueError("must start with a digest: `python -m app api-keys create` prints it")
        if not scopes <= set(SCOPES):
            raise ValueError(f"has an unknown scope; the scopes are {', '.join(SCOPES)}")
        return cls(digest, scopes, _parse_expiry(expiry) if expiry else None)

    def __str__(self) -> str:
        expiry = f"/{self.expires_at:%Y-%m-%dT%H:%M:%SZ}" if self.expires_at else ""
        return f"{self.digest}/{'+'.join(sorted(self.scopes))}{expiry}"


def _parse_expiry(text: str) -> datetime:
    try:
        expiry = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("has an expiry that is not a date, as in 2030-12-31") from None
    return expiry if expiry.tzinfo else expiry.replace(tzinfo=UTC)


def _split(value: object) -> object:
    """Split a list that is given as JSON or as comma-separated text."""
    if not isinstance(value, str):
        return value
    try:
        parts = json.loads(value) if value.lstrip().startswith("[") else value.split(",")
        return [part.strip() for part in parts if part.strip()]
    except _MALFORMED:
        raise ValueError("must be a JSON list of strings or comma-separated text") from None


def _parse_keys(value: object) -> object:
    parts = _split(value)
    if not isinstance(parts, list):
        return parts
    return [ApiKey.parse(part) if isinstance(part, str) else part for part in parts]


def _check_transports(value: tuple[str, ...]) -> tuple[str, ...]:
    transports = {transport.lower() for transport in value}
    if not transports or not transports <= set(TRANSPORTS):
        raise ValueError(f"must list some of {', '.join(TRANSPORTS)}")
    return tuple(sorted(transports))


def _check_rate_limit(text: str) -> str:
    try:
        [limit] = parse_many(text)
    except ValueError:
        raise ValueError("must be a number of calls in a time, as in 10/minute") from None
    if limit.amount == 0 or limit.get_expiry() > _LONGEST_PERIOD:
        raise ValueError("must be at least 1 call in at most a year, as in 10/minute")
    return text


class Settings(EnvSettings, frozen=True, hide_input_in_errors=True, validate_default=True):
    """Every setting; `.env.example` lists them."""

    rate_limit_enabled: bool = True
    # With memory://, each process counts for itself; with redis://, all count together.
    rate_limit_storage_uri: SecretStr = SecretStr("memory://")
    # For each key.
    rate_limit_api_key: Annotated[str, AfterValidator(_check_rate_limit)] = "600/minute"

    # Where a request may have its key.
    api_key_transports: Annotated[
        tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_transports)
    ] = ("header",)
    # The HMAC key of the digests. Keep it apart from them: neither is of use alone.
    api_key_pepper: SecretStr = SecretStr("")
    api_keys: Annotated[tuple[ApiKey, ...], NoDecode, BeforeValidator(_parse_keys)] = ()

    @field_validator("rate_limit_storage_uri")
    @classmethod
    def _check_storage(cls, value: SecretStr) -> SecretStr:
        uri = value.get_secret_value()
        if uri == "memory://":
            return value
        if not uri.startswith(("redis://", "rediss://")):
            raise ValueError("must be memory://, or as in redis://user:password@host:6379/0")
        try:
            pool = ConnectionPool.from_url(uri)
            # The constructor checks every part of the URL, and does not connect.
            pool.connection_class(**pool.connection_kwargs)
        except _INVALID_URL:
            raise ValueError("has a port or a parameter that Redis' client does not know") from None
        return value

    @field_validator("api_key_pepper")
    @classmethod
    def _choose_pepper(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        pepper, environment = value.get_secret_value(), info.data.get("environment")
        if not pepper and environment == "test":
            pepper = "pepper of the tests, which is long enough"
        elif not pepper and environment == "development":
            pepper = _development_pepper()
        elif not pepper:
            raise ValueError("is missing: make one with `openssl rand -hex 32`")
        if len(pepper) < _PEPPER_LENGTH:
            raise ValueError(f"must have at least {_PEPPER_LENGTH} characters")
        return SecretStr(pepper)


def _development_pepper() -> str:
    """Return the pepper of this machine, which is made at the first start."""
    path = DEVELOPMENT_PEPPER
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        # A link appears whole or not at all: of several processes that start, one wins.
        with NamedTemporaryFile(dir=path.parent) as file, suppress(FileExistsError):
            file.write(secrets.token_hex(_PEPPER_LENGTH).encode())
            file.flush()
            os.link(file.name, path)
    pepper = path.read_text(encoding="ascii", errors="ignore")
    if len(pepper) < _PEPPER_LENGTH:
        raise OSError(errno.EINVAL, "is not a pepper; delete it, and a new one is made", str(path))
    return pepper
