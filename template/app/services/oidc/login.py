"""Logging in with an OpenID Connect provider: the code flow, with state, nonce and PKCE."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from app.core.settings import Settings
from app.db.database import Database
from app.db.types import server_now
from app.models import OidcLogin
from app.schemas.oidc import CallbackQuery, OidcTokenPair
from app.services.auth import sessions
from app.services.auth.accounts import AccountService
from app.services.auth.sessions import Client
from app.services.oidc import identities
from app.services.oidc.errors import (
    InvalidStateError,
    LoginDeniedError,
    LoginFailedError,
    ProviderError,
    UnknownProviderError,
    UnknownTargetError,
)
from app.services.oidc.identities import IdentityUser
from app.services.oidc.provider import OidcProviderClient

# The time that users have to log in at the provider.
LOGIN_LIFETIME: Final = timedelta(minutes=10)
CALLBACK_PATH: Final = "/api/v1/auth/oidc/{provider}/callback"

# Errors of the provider itself (RFC 6749 section 4.1.2.1). All others mean a denied login.
_FAULTS: Final = {"server_error", "temporarily_unavailable"}

_LOGIN: list[Any] = [
    col(OidcLogin.nonce),
    col(OidcLogin.code_verifier),
    col(OidcLogin.next_path),
    col(OidcLogin.session_id),
]
_BEGIN = sa.insert(OidcLogin)
# One statement: of parallel requests with the same state, in any process, one gets the row.
_TAKE = (
    sa.delete(OidcLogin)
    .where(
        col(OidcLogin.digest) == sa.bindparam("the_digest"),
        col(OidcLogin.expires_at) > server_now(),
    )
    .returning(*_LOGIN)
)
_PURGE = sa.delete(OidcLogin).where(col(OidcLogin.expires_at) <= server_now())
_log = structlog.get_logger("app.security")


class OidcProviders:
    """The providers that are configured, for the life of the process."""

    def __init__(self, settings: Settings) -> None:
        self._clients = {
            name: OidcProviderClient(
                name, provider, f"{settings.public_url}{CALLBACK_PATH.format(provider=name)}"
            )
            for name, provider in settings.oidc_providers.items()
        }

    def get(self, name: str) -> OidcProviderClient:
        """Return the provider.

        Raises:
            UnknownProviderError: there is none of this name.
        """
        try:
            return self._clients[name]
        except KeyError:
            raise UnknownProviderError from None

    async def aclose(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.close()


@dataclass(frozen=True, slots=True)
class BegunLogin:
    """The URL to redirect to, and the secret that identifies the browser afterwards."""

    url: str
    browser_secret: str


@dataclass(frozen=True, slots=True)
class FinishedLogin:
    """The tokens of a login, and its user."""

    pair: OidcTokenPair
    user: IdentityUser


class OidcService:
    """Starts and completes logins at providers.

    No database connection is open during requests to a provider, since other requests need it.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        providers: OidcProviders,
        accounts: AccountService,
    ) -> None:
        self._database = database
        self._settings = settings
        self._providers = providers
        self._accounts = accounts

    async def begin(self, name: str, next_path: str | None = None) -> BegunLogin:
        """Send someone to the provider, to log in.

        Raises:
            UnknownProviderError: there is no such provider.
            UnknownTargetError: nobody may be sent to this path afterwards.
        """
        if next_path is not None and next_path not in self._settings.oidc_next_paths:
            raise UnknownTargetError
        return await self._begin(name, next_path=next_path)

    async def begin_link(self, name: str, session_id: UUID) -> BegunLogin:
        """Send the user of a session to the provider, to link the identity there.

        Raises:
            UnknownProviderError: there is no such provider.
            EmailNotVerifiedError: the user has not verified the account's address.
        """
        async with self._database.reading() as connection:
            await identities.find_linker(connection, session_id)
        return await self._begin(name, session_id=session_id)

    async def _begin(self, name: str, **columns: Any) -> BegunLogin:
        provider = self._providers.get(name)
        state, browser_secret, nonce = (secrets.token_urlsafe() for _ in range(3))
        # 43 characters or more, as RFC 7636 asks.
        code_verifier = secrets.token_urlsafe(48)
        url = await provider.authorization_url(state, nonce, code_verifier)
        login = {
            "id": uuid4(),
            "digest": _digest(name, state, browser_secret),
            "nonce": nonce,
            "code_verifier": code_verifier,
            "expires_at": datetime.now(UTC) + LOGIN_LIFETIME,
            **columns,
        }
        async with self._database.transaction() as connection:
            await connection.execute(_BEGIN, login)
        return BegunLogin(url, browser_secret)

    async def finish(
        self, name: str, response: CallbackQuery, browser_secret: str | None, client: Client
    ) -> FinishedLogin:
        """Complete the login of a user who returns from the provider.

        Raises:
            UnknownProviderError: there is no such provider.
            InvalidStateError: no login was begun in this browser with this state.
            LoginDeniedError: the provider or the user denied the login.
            LoginFailedError: the identity is not proven, or the account is not active.
            EmailNotVerifiedError: there is no account, and the provider has verified no address.
            IdentityTakenError: the identity to link is another user's.
        """
        provider = self._providers.get(name)
        login = await self._take(name, response.state, browser_secret)
        if response.error is not None:
            _log.warning("oidc_login_denied", provider=name)
            raise ProviderError if response.error in _FAULTS else LoginDeniedError
        if not response.code:
            raise LoginFailedError
        proof = await provider.prove(response.code, login.nonce, login.code_verifier, response.iss)
        user = await identities.find_user(self._database, name, proof, login.session_id)
        async with self._database.transaction() as connection:
            session = await sessions.begin(connection, self._settings, user.id, client)
        if session is None:
            _log.warning("oidc_login_failed", provider=name, user_id=str(user.id))
            raise LoginFailedError
        _log.info("oidc_login", provider=name, user_id=str(user.id))
        pair = self._accounts.issue_tokens(session)
        return FinishedLogin(OidcTokenPair(**pair.model_dump(), next=login.next_path), user)

    async def _take(self, name: str, state: str | None, browser_secret: str | None) -> sa.Row[Any]:
        if not state or not browser_secret:
            raise InvalidStateError
        values = {"the_digest": _digest(name, state, browser_secret)}
        async with self._database.transaction() as connection:
            login = (await connection.execute(_TAKE, values)).one_or_none()
        if login is None:
            _log.warning("oidc_state_refused", provider=name)
            raise InvalidStateError
        return login


async def purge(connection: AsyncConnection) -> int:
    """Delete the logins that were not completed in time, and return how many there were."""
    return (await connection.execute(_PURGE)).rowcount


def _digest(provider: str, state: str, browser_secret: str) -> str:
    return hashlib.sha256(f"{provider}\n{state}\n{browser_secret}".encode()).hexdigest()
