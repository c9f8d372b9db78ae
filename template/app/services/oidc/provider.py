"""An OpenID Connect provider, over HTTP: OpenID Connect Core 1.0 by the rules of RFC 9700."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import httpx2
import structlog
from authlib.integrations.httpx_client import OAuth2ClientAuth
from authlib.oauth2.client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from joserfc.registry import HeaderParameter
from pydantic import BaseModel, ValidationError

from app.core.settings.oidc import HttpUrl, OidcProvider
from app.services.oidc.errors import LoginFailedError, ProviderError, ProviderTimeoutError

# Seconds for all requests to the provider during one request of a client.
PATIENCE: Final = 5.0
# Bytes. No answer of a provider is longer.
_MAX_ANSWER: Final = 256 * 1024
# Seconds after which the provider's metadata and keys are fetched again.
_CACHE_LIFETIME: Final = 3600
# Seconds by which the provider's clock and ours may differ.
_LEEWAY: Final = 30
# Characters (OpenID Connect Core 1.0 section 2).
_MAX_SUBJECT: Final = 255
# Signatures with a key that only the provider has; the secret of a client is shared.
_ALGORITHMS: Final = frozenset({"RS256", "PS256", "ES256"})
# We know no extension that a provider could call critical (RFC 7515 section 4.1.11).
_HEADERS: Final = {"crit": HeaderParameter("Critical", "none")}

# Errors of the libraries for malformed responses.
_OUTDATED_KEYS: Final = (InvalidKeyIdError, BadSignatureError)
_MALFORMED_KEYS: Final = (JoseError, KeyError, TypeError, ValueError, AttributeError)
_MALFORMED_JSON: Final = (ValueError, RecursionError)

_log = structlog.get_logger("app.security")


@dataclass(frozen=True, slots=True)
class Proof:
    """An identity, verified by a provider."""

    subject: str
    # None unless the provider has verified it.
    verified_email: str | None
    name: str | None


class Metadata(BaseModel):
    """The fields of a provider's metadata that we need."""

    issuer: str
    authorization_endpoint: HttpUrl
    token_endpoint: HttpUrl
    jwks_uri: HttpUrl
    userinfo_endpoint: HttpUrl | None = None
    id_token_signing_alg_values_supported: list[str] = ["RS256"]
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]
    authorization_response_iss_parameter_supported: bool = False

    @property
    def endpoints(self) -> list[str]:
        """Every URL to which we send requests or browsers."""
        urls = [self.authorization_endpoint, self.token_endpoint, self.jwks_uri]
        return [*urls, self.userinfo_endpoint] if self.userinfo_endpoint else urls


class OidcProviderClient:
    """One provider.

    Every method raises ProviderTimeoutError after `PATIENCE` seconds, and ProviderError when the
    provider cannot be reached or its response is invalid.
    """

    def __init__(self, name: str, settings: OidcProvider, redirect_uri: str) -> None:
        self._name = name
        self._settings = settings
        # Endpoints may be without TLS only where the configured URL is, which is in development.
        self._needs_tls = settings.metadata_url.startswith("https://")
        self._redirect_uri = settings.redirect_uri or redirect_uri
        # The client follows no redirects, and asks for uncompressed responses, so that the limit
        # applies to the bytes that are read.
        self._http = httpx2.AsyncClient(
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            # Each use has its own bound.
            timeout=None,
            verify=_certificates(),
        )
        self._lock = asyncio.Lock()
        self._cached: tuple[Metadata, KeySet] | None = None
        # By `time.monotonic()`.
        self._cached_until = 0.0

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def authorization_url(self, state: str, nonce: str, code_verifier: str) -> str:
        """Return the URL to redirect the browser to."""
        async with self._patience():
            metadata, _ = await self._described()
        client = OAuth2Client(
            None,
            client_id=self._settings.client_id,
            scope=self._settings.scopes,
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
        )
        url, _ = client.create_authorization_url(
            metadata.authorization_endpoint, state, code_verifier, nonce=nonce
        )
        return str(url)

    async def prove(
        self, code: str, nonce: str, code_verifier: str, response_issuer: str | None
    ) -> Proof:
        """Exchange the code for the identity of the person who was sent to the provider.

        Raises:
            LoginFailedError: the code is not valid, or nothing shows that the answer is from this
                provider, for us and for this login.
        """
        async with self._patience():
            metadata, _ = await self._described()
            if not _is_from(metadata, response_issuer):
                raise self._failed("the response is from another issuer")
            tokens = await self._exchange(metadata, code, code_verifier)
            claims = await self._verified(tokens, nonce)
            details: Mapping[str, Any] = claims
            if "email" not in claims and metadata.userinfo_endpoint:
                details = await self._userinfo(metadata.userinfo_endpoint, tokens, claims["sub"])
        return Proof(claims["sub"], _verified_email(details), _text(details.get("name")))

    # ── Metadata and keys ────────────────────────────────────────────────────────────────────────

    async def _described(self, *, outdated: KeySet | None = None) -> tuple[Metadata, KeySet]:
        """Return the metadata and the keys. Old ones and `outdated` keys are fetched again."""
        # Of parallel requests, one asks the provider and the others share its response.
        async with self._lock:
            cached = self._cached
            is_fresh = time.monotonic() < self._cached_until
            if cached is None or not is_fresh or cached[1] is outdated:
                cached = self._cached = await self._read_description()
                self._cached_until = time.monotonic() + _CACHE_LIFETIME
            return cached

    async def _read_description(self) -> tuple[Metadata, KeySet]:
        try:
            metadata = Metadata.model_validate(await self._get(self._settings.metadata_url))
        except ValidationError as error:
            fields = sorted({str(fault["loc"][0]) for fault in error.errors()})
            raise self._broken(f"metadata without a valid {', '.join(fields)}") from None
        if metadata.issuer not in self._settings.issuers:
            raise self._broken("metadata of another issuer")
        if self._needs_tls and any(not url.startswith("https://") for url in metadata.endpoints):
            raise self._broken("metadata with an endpoint without TLS")
        keys: Any = await self._get(metadata.jwks_uri)
        try:
            return metadata, KeySet.import_key_set(keys)
        except _MALFORMED_KEYS:
            raise self._broken("keys that cannot be read") from None

    # ── The code, the tokens, the claims ─────────────────────────────────────────────────────────

    async def _exchange(self, metadata: Metadata, code: str, verifier: str) -> dict[str, Any]:
        methods = metadata.token_endpoint_auth_methods_supported
        is_by_post = "client_secret_basic" not in methods and "client_secret_post" in methods
        status, answer = await self._send(
            "POST",
            metadata.token_endpoint,
            auth=OAuth2ClientAuth(
                self._settings.client_id,
                self._settings.client_secret.get_secret_value(),
                "client_secret_post" if is_by_post else "client_secret_basic",
            ),
            data={
                "grant_type": "authorization_code",
                "code": code,
                "code_verifier": verifier,
                "redirect_uri": self._redirect_uri,
            },
        )
        if answer.get("error") == "invalid_grant":
            raise self._failed("the code is not valid")
        if status != httpx2.codes.OK:
            raise self._broken(f"no tokens: {status} {_text(answer.get('error'))}")
        return answer

    async def _verified(self, tokens: dict[str, Any], nonce: str) -> dict[str, Any]:
        """Return the claims of the ID token (OpenID Connect Core 1.0 section 3.1.3.7)."""
        metadata, keys = await self._described()
        algorithms = _ALGORITHMS.intersection(metadata.id_token_signing_alg_values_supported)
        if not algorithms:
            # With an empty list, joserfc would allow its recommended algorithms.
            raise self._broken("no algorithm that we accept")
        registry = JWSRegistry(_HEADERS, algorithms=algorithms, strict_check_header=False)
        id_token = tokens.get("id_token")
        if not isinstance(id_token, str):
            raise self._failed("there is no ID token")
        try:
            try:
                token = jwt.decode(id_token, keys, registry=registry)
            except _OUTDATED_KEYS:
                # The provider has new keys; without key ids, only the signature shows it.
                _, keys = await self._described(outdated=keys)
                token = jwt.decode(id_token, keys, registry=registry)
            required = {
                **{name: {"essential": True} for name in ("sub", "exp", "iat")},
                "iss": {"essential": True, "value": metadata.issuer},
                "aud": {"essential": True, "value": self._settings.client_id},
                "nonce": {"essential": True, "value": nonce},
            }
            own = {
                "nonce": nonce,
                "client_id": self._settings.client_id,
                "access_token": tokens.get("access_token"),
            }
            # The standard's own rules for nonce, azp and at_hash.
            CodeIDToken(token.claims, token.header, required, own).validate(leeway=_LEEWAY)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise self._failed(f"the ID token is not valid: {type(error).__name__}") from None
        if _text(token.claims["sub"]) is None or len(token.claims["sub"]) > _MAX_SUBJECT:
            raise self._failed("the subject is not valid")
        return token.claims

    async def _userinfo(self, url: str, tokens: dict[str, Any], subject: str) -> dict[str, Any]:
        status, answer = await self._send(
            "GET", url, headers={"Authorization": f"Bearer {_text(tokens.get('access_token'))}"}
        )
        if status != httpx2.codes.OK:
            raise self._broken(f"no user info: {status}")
        # The user info of another subject would give this user the other's e-mail address.
        if answer.get("sub") != subject:
            raise self._failed("the user info is about someone else")
        return answer

    # ── HTTP ─────────────────────────────────────────────────────────────────────────────────────

    async def _get(self, url: str) -> dict[str, Any]:
        status, answer = await self._send("GET", url)
        if status != httpx2.codes.OK:
            raise self._broken(f"{status} from {url}")
        return answer

    async def _send(self, method: str, url: str, **content: Any) -> tuple[int, dict[str, Any]]:
        """Return the status and the JSON object that is answered."""
        body = bytearray()
        try:
            async with self._http.stream(method, url, **content) as response:
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > _MAX_ANSWER:
                        raise self._broken(f"too long an answer from {url}")
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._broken(f"{type(error).__name__} from {url}") from None
        try:
            answer = json.loads(body)
        except _MALFORMED_JSON:
            answer = None
        if not isinstance(answer, dict):
            raise self._broken(f"{response.status_code} without a JSON object from {url}")
        return response.status_code, answer

    @asynccontextmanager
    async def _patience(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(PATIENCE):
                yield
        except TimeoutError:
            _log.warning("oidc_provider_timeout", provider=self._name)
            raise ProviderTimeoutError from None

    def _broken(self, cause: str) -> ProviderError:
        _log.error("oidc_provider_error", provider=self._name, cause=cause)
        return ProviderError()

    def _failed(self, cause: str) -> LoginFailedError:
        _log.warning("oidc_login_failed", provider=self._name, cause=cause)
        return LoginFailedError()


@cache
def _certificates() -> ssl.SSLContext:
    # Reading them takes longer than anything else that a client needs.
    return httpx2.create_ssl_context()


def _is_from(metadata: Metadata, response_issuer: str | None) -> bool:
    """Return whether the response is from the provider that was asked (RFC 9207)."""
    if response_issuer is None:
        return not metadata.authorization_response_iss_parameter_supported
    return response_issuer == metadata.issuer


def _verified_email(claims: Mapping[str, Any]) -> str | None:
    is_verified = claims.get("email_verified")
    # Some providers write the boolean as text. Other truthy values are not accepted.
    if is_verified is not True and is_verified != "true":
        return None
    return _text(claims.get("email"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value and value.isprintable() else None
