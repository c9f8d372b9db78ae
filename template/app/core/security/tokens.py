"""JSON Web Tokens, RFC 7519, by the rules of RFC 8725: one algorithm, own keys, every claim."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid4

import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry
from joserfc.registry import HeaderParameter

from app.core.errors import UnauthenticatedError
from app.core.security.keys import ALGORITHM, Keys
from app.core.settings import Settings

# Seconds by which the clocks of two servers may differ.
LEEWAY: Final = 5

# Errors of the library for tokens that are malformed, forged or expired.
_NOT_VALID: Final = (JoseError, TypeError, ValueError, RecursionError)

_log = structlog.get_logger("app.security")


class LoginRequiredError(UnauthenticatedError):
    """The request has no access token."""

    challenge = "Bearer"

    def __init__(self) -> None:
        super().__init__("An access token is required.")


class InvalidTokenError(UnauthenticatedError):
    """The token is forged, expired, of another type, or its session has ended."""

    code = "invalid_token"
    challenge = 'Bearer error="invalid_token"'

    def __init__(self) -> None:
        super().__init__("The token is invalid or has expired.")


class TokenType(StrEnum):
    """The purpose of a token. No type is accepted in place of another."""

    ACCESS = "access"
    REFRESH = "refresh"
    RESET = "reset"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a verified token."""

    subject: UUID
    token_id: UUID
    # The session of an access or refresh token.
    session_id: UUID
    # Digest of the account's state: a token from an e-mail is valid only while it is unchanged.
    fingerprint: str


class Tokens:
    """Signs and verifies tokens."""

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self._keys = keys
        # The public keys, with which other services verify our tokens.
        self.key_set = keys.accepted.as_dict(private=False)
        self._header = {"alg": ALGORITHM, "kid": keys.signing.thumbprint()}
        self._issued = {"iss": settings.jwt_issuer, "aud": settings.jwt_audience}
        self._headers = JWSRegistry(
            {
                "kid": HeaderParameter("Key ID", "str", required=True),
                # We use no extension, so none can be critical (RFC 7515 section 4.1.11).
                "crit": HeaderParameter("Critical", "none"),
            },
            algorithms=[ALGORITHM],
        )
        self._claims = {kind: self._registry(kind) for kind in TokenType}

    def _registry(self, kind: TokenType) -> jwt.JWTClaimsRegistry:
        # `sid` names a session; a token from an e-mail has the account's state in its place.
        own = "sid" if kind in {TokenType.ACCESS, TokenType.REFRESH} else "fingerprint"
        expected = {**self._issued, "type": kind.value}
        claims: dict[str, jwt.ClaimsOption] = {
            **{name: {"essential": True} for name in ("sub", "jti", "iat", "nbf", "exp", own)},
            **{name: {"essential": True, "value": value} for name, value in expected.items()},
        }
        return jwt.JWTClaimsRegistry(None, LEEWAY, **claims)

    def issue(
        self,
        kind: TokenType,
        subject: UUID,
        lifetime: timedelta,
        *,
        token_id: UUID | None = None,
        **own: str,
    ) -> str:
        """Return a signed token for the subject, with the claims of its type."""
        now = int(datetime.now(UTC).timestamp())
        claims = {
            **self._issued,
            **own,
            "sub": str(subject),
            "jti": str(token_id or uuid4()),
            "type": kind.value,
            "iat": now,
            "nbf": now,
            "exp": now + int(lifetime.total_seconds()),
        }
        return jwt.encode(self._header, claims, self._keys.signing, registry=self._headers)

    def read(self, token: str, kind: TokenType) -> Claims:
        """Return the claims of the token.

        Raises:
            InvalidTokenError: the token is not ours, is of another type, or is not valid now.
        """
        try:
            claims = jwt.decode(token, self._keys.accepted, registry=self._headers).claims
            self._claims[kind].validate(claims)
            # The claims registry would also accept a list that contains the type.
            if claims["type"] != kind:
                raise TypeError
            return Claims(
                subject=UUID(claims["sub"]),
                token_id=UUID(claims["jti"]),
                session_id=UUID(str(claims.get("sid", UUID(int=0)))),
                fingerprint=str(claims.get("fingerprint", "")),
            )
        except _NOT_VALID as error:
            _log.info("token_refused", kind=kind, cause=type(error).__name__)
            raise InvalidTokenError from None
