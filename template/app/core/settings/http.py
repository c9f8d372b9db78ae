"""Settings of the HTTP server: documentation, hosts, origins, bodies."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, PositiveInt

from app.core.settings.base import Environment, SettingsGroup, TextList

NAME: Final = r"([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])"
_PORT: Final = r"(:[1-9][0-9]{0,4})?"
_HOST = re.compile(rf"\*|(\*\.)?{NAME}", re.IGNORECASE)
# As browsers write it: in lower case, and with a port only if it is not the scheme's own.
_ORIGIN = re.compile(rf"\*|(?!http:.*:80$|https:.*:443$)[a-z][a-z0-9+.-]*://{NAME}{_PORT}")


def _check_hosts(hosts: list[str]) -> list[str]:
    if not all(_HOST.fullmatch(host) for host in hosts):
        raise ValueError("takes names alone, as in api.example.com or *.example.com")
    return hosts or ["*"]


def _check_origins(origins: list[str]) -> list[str]:
    """Accept origins as browsers write them in `Origin` (RFC 6454 section 6.2)."""
    if not all(_ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError("takes origins without path or slash, as in https://www.example.com")
    return origins


def _is_not_production(data: dict[str, Any]) -> bool:
    return data["environment"] is not Environment.PRODUCTION


class HttpSettings(SettingsGroup):
    """Settings of the HTTP server."""

    # The commit of the build, which /api/v1/health shows.
    commit: Annotated[str, Field(max_length=100)] = ""
    docs_enabled: bool = Field(default_factory=_is_not_production)

    allowed_hosts: Annotated[TextList, AfterValidator(_check_hosts)] = Field([])
    cors_origins: Annotated[TextList, AfterValidator(_check_origins)] = Field([])
    max_body_bytes: PositiveInt = 1024 * 1024

    def faults(self) -> Iterator[tuple[str, str]]:
        """Require host names and origins by name when deployed."""
        yield from super().faults()
        if not self.environment.is_deployed:
            return
        if "*" in self.allowed_hosts:
            yield "allowed_hosts", "is missing, or is * for any host: list the names of the service"
        if "*" in self.cors_origins:
            yield "cors_origins", "must list origins; * would let every web site call the API"
