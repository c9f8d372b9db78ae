"""Settings of OpenID Connect."""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import NoDecode

from app.core.settings.base import NOT_JSON, TextList
from app.core.settings.http import HttpSettings
from app.core.settings.urls import check_base_url, check_url

_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
# A path on the service's own origin. Browsers must not be able to read it as another origin.
_LOCAL_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9/_.~-]*")


def _words(value: object) -> object:
    return value.split() if isinstance(value, str) else value


HttpUrl = Annotated[str, AfterValidator(check_url)]


class OidcProvider(BaseModel):
    """One provider, as registered there for this service."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    # One of the two is enough; the other follows from it.
    issuer: HttpUrl | None = None
    discovery_url: HttpUrl | None = None
    client_id: Annotated[str, Field(min_length=1)]
    client_secret: Annotated[SecretStr, Field(min_length=1)]
    scopes: Annotated[list[str], BeforeValidator(_words)] = ["openid", "email", "profile"]
    # A page that passes its query on to our callback; by default the callback itself.
    redirect_uri: HttpUrl | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.issuer is None and not (self.discovery_url or "").endswith(_WELL_KNOWN):
            raise ValueError(f"needs an issuer, or a discovery_url that ends in {_WELL_KNOWN}")
        if "openid" not in self.scopes:
            raise ValueError("needs the scope openid")
        return self

    @property
    def metadata_url(self) -> str:
        """The URL of the provider's metadata (OpenID Connect Discovery 1.0)."""
        return self.discovery_url or f"{(self.issuer or '').rstrip('/')}{_WELL_KNOWN}"

    @property
    def issuers(self) -> set[str]:
        """The accepted issuers: the URL does not show whether the issuer ends in a slash."""
        if self.issuer is not None:
            return {self.issuer}
        base = self.metadata_url.removesuffix(_WELL_KNOWN)
        return {base, f"{base}/"}

    @property
    def urls(self) -> list[str]:
        """Every URL that is configured."""
        return [url for url in (self.issuer, self.discovery_url, self.redirect_uri) if url]


def _parse_providers(value: object) -> object:
    """Parse providers by name from JSON.

    Raises:
        ValueError: a provider is invalid. The message names it and the error, but no value.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except NOT_JSON:
            raise ValueError("is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError('must be a JSON object, as in {"name": {"issuer": "https://…", …}}')  # noqa: TRY004
    return {name: _provider(name, fields) for name, fields in value.items()}


def _provider(name: object, fields: object) -> OidcProvider:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError("takes names of lower-case letters, digits, - and _, up to 32")
    try:
        return OidcProvider.model_validate(fields)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_context=False, include_url=False)[0]
        where = ".".join(str(part) for part in (name, *fault["loc"]))
        raise ValueError(f"{where}: {fault['msg'].removeprefix('Value error, ')}") from None


def _check_local_paths(paths: list[str]) -> list[str]:
    """Accept plain paths only; a browser could be sent to another origin."""
    if not all(_LOCAL_PATH.fullmatch(path) for path in paths):
        raise ValueError("takes plain paths that start with a slash, as in /account")
    return paths


def _default_public_url(data: dict[str, Any]) -> str:
    """Return the URL of a service with one host name; empty if the name is not known."""
    hosts: list[str] = data["allowed_hosts"]
    if not data["environment"].is_deployed:
        return "http://127.0.0.1:8000"
    return f"https://{hosts[0]}" if len(hosts) == 1 and "*" not in hosts[0] else ""


def _check_public_url(url: str) -> str:
    return url and check_base_url(url)


class OidcSettings(HttpSettings):
    """OpenID Connect providers and redirect URLs."""

    # By name, which is part of the URLs and of each linked identity.
    oidc_providers: Annotated[
        dict[str, OidcProvider], NoDecode, BeforeValidator(_parse_providers)
    ] = Field({})
    # The paths to which a login may redirect.
    oidc_next_paths: Annotated[TextList, AfterValidator(_check_local_paths)] = Field([])
    # The URL at which clients reach the service. The Host header is not used: clients choose it.
    public_url: Annotated[str, AfterValidator(_check_public_url)] = Field(
        default_factory=_default_public_url
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        """Require TLS when deployed, and a URL that providers can send people back to."""
        yield from super().faults()
        if self.oidc_providers and not self.public_url:
            yield "public_url", "is missing: where providers send people back to"
        if not self.environment.is_deployed:
            return
        if self.public_url and not self.public_url.startswith("https://"):
            yield "public_url", "must start with https://"
        for name, provider in self.oidc_providers.items():
            if not all(url.startswith("https://") for url in provider.urls):
                yield "oidc_providers", f"{name}: every URL must start with https://"
