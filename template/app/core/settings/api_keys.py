"""Settings of API keys."""

from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import AfterValidator, Field, SecretStr

from app.core.security.api_keys import MIN_PEPPER_LENGTH, default_pepper
from app.core.settings.base import TextList
from app.core.settings.rate_limits import RateLimit, RateLimitSettings

_TRANSPORTS: Final = ("authorization", "cookie", "header", "query")


def _check_transports(value: list[str]) -> list[str]:
    transports = sorted({transport.lower() for transport in value})
    if not transports or not set(transports) <= set(_TRANSPORTS):
        raise ValueError(f"must list some of {', '.join(_TRANSPORTS)}")
    return transports


class ApiKeySettings(RateLimitSettings):
    """Settings of API keys."""

    # For each key.
    rate_limit_api_key: RateLimit = "600/minute"
    # Where a request may carry its key.
    api_key_transports: Annotated[TextList, AfterValidator(_check_transports)] = Field(["header"])
    # Secret key of the digests. It is no API key: nobody can call with it, even with the digests.
    api_key_pepper: SecretStr = Field(
        default_factory=lambda data: SecretStr(default_pepper(data["environment"]))
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Require a pepper that cannot be guessed."""
        yield from super().faults()
        length = len(self.api_key_pepper)
        if length == 0:
            yield "api_key_pepper", "is missing: make one with `openssl rand -hex 32`"
        elif length < MIN_PEPPER_LENGTH:
            yield "api_key_pepper", f"must have at least {MIN_PEPPER_LENGTH} characters"
