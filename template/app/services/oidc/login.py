"""Logging in with an OpenID Connect provider: the code flow, with state, nonce and PKCE."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from app.core.settings import Settings
from app.db.database import Database
from app.db.types import server_now
from app.models import Identity, LoginSession, OidcLogin, User
from app.schemas.auth import normalized_email
from app.schemas.oidc import CallbackQuery, OidcTokenPair
from app.services.auth import sessions
from app.services.auth.accounts import AccountService
from app.services.auth.errors import EmailTakenError
from app.services.auth.sessions import Client
from app.services.oidc.errors import (
    EmailNotVerifiedError,
    IdentityTakenError,
    InvalidStateError,
    LoginDeniedError,
    LoginFailedError,
    ProviderError,
    UnknownProviderError,
    UnknownTargetError,
)
from app.services.oidc.provider import OidcProviderClient, Proof

# How long people may take at the provider.
LOGIN_LIFETIME: Final = timedelta(minutes=10)
CALLBACK_PATH: Final = "/api/v1/auth/oidc/{provider}/callback"

# Errors that tell of a fault at the provider (RFC 6749 section 4.1.2.1); all others mean no.
_FAULTS: Final = {"server_error", "temporarily_unavailable"}
_MAX_NAME: Final = 255

_LOGIN: list[Any] = [
    col(OidcLogin.nonce),
    col(OidcLogin.code_verifier),
    col(OidcLogin.next_path),
    col(OidcLogin.session_id),
]
_BEGIN = sa.insert(OidcLogin)
# In one statement: of several requests with the same state, in whichever processes, one gets it.
_TAKE = (
    sa.delete(OidcLogin)
    .where(
        col(OidcLogin.digest) == sa.bindparam("the_digest"),
        col(OidcLogin.expires_at) > server_now(),
    )
    .returning(*_LOGIN)
)
_PURGE = sa.delete(OidcLogin).where(col(OidcLogin.expires_at) <= server_now())
_OWNER = sa.select(col(Identity.user_id)).where(
    col(Identity.provider) == sa.bindparam("the_provider"),
    col(Identity.subject) == sa.bindparam("the_subject"),
)
_LINKER = (
    sa.select(col(User.id), col(User.is_verified))
    .join(LoginSession, col(LoginSession.user_id) == col(User.id))
    .where(
        col(LoginSession.id) == sa.bindparam("the_session_id"),
        col(LoginSession.expires_at) > server_now(),
        col(User.is_active).is_(True),
    )
)
_BY_EMAIL = sa.select(col(User.id), col(User.is_verified), col(User.is_active)).where(
    col(User.email) == sa.bindparam("the_email")
)
_SIGN_UP = sa.insert(User)
_LINK = sa.insert(Identity)
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
    """Where to send the browser, and the secret by which it is recognised afterwards."""

    url: str
    browser_secret: str


class OidcService:
    """Sends people to providers, and takes them back.

    No connection to the database is held while a provider is asked; others would wait for it.
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
            await _linker(connection, session_id)
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
    ) -> OidcTokenPair:
        """Log in the person whom the provider sends back.

        Raises:
            UnknownProviderError: there is no such provider.
            InvalidStateError: no login was begun in this browser with this state.
            LoginDeniedError: the provider, or the person there, said no.
            LoginFailedError: nothing proves who it is, or the account is not active.
            EmailNotVerifiedError: there is no account, and the provider vouches for no address.
            EmailTakenError: an account has the address, and its owner has not verified it.
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
        user_id = await self._user_of(name, proof, login.session_id)
        async with self._database.transaction() as connection:
            session = await sessions.begin(connection, self._settings, user_id, client)
        if session is None:
            _log.warning("oidc_login_failed", provider=name, user_id=str(user_id))
            raise LoginFailedError
        _log.info("oidc_login", provider=name, user_id=str(user_id))
        pair = self._accounts.issue_tokens(session)
        return OidcTokenPair(**pair.model_dump(), next=login.next_path)

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

    async def _user_of(self, name: str, proof: Proof, session_id: UUID | None) -> UUID:
        try:
            return await self._find_or_add(name, proof, session_id)
        except IntegrityError:
            # Another request has just added the same user, or the same identity: now it is found.
            return await self._find_or_add(name, proof, session_id)

    async def _find_or_add(self, name: str, proof: Proof, session_id: UUID | None) -> UUID:
        identity = {"the_provider": name, "the_subject": proof.subject}
        async with self._database.transaction() as connection:
            owner: UUID | None = await connection.scalar(_OWNER, identity)
            if session_id is None:
                user_id = owner or await _user_by_email(connection, proof)
            else:
                user_id = await _linker(connection, session_id)
            if owner == user_id:
                return owner
            if owner is not None:
                raise IdentityTakenError
            columns = {"user_id": user_id, "provider": name, "subject": proof.subject}
            await connection.execute(_LINK, {"id": uuid4(), **columns})
        _log.info("identity_linked", provider=name, user_id=str(user_id))
        return user_id


async def purge(connection: AsyncConnection) -> int:
    """Delete the logins that nobody came back from, and return how many there were."""
    return (await connection.execute(_PURGE)).rowcount


async def _linker(connection: AsyncConnection, session_id: UUID) -> UUID:
    """Return the user of the session.

    Raises:
        LoginFailedError: the session has ended.
        EmailNotVerifiedError: the account's address may be somebody else's. They could take the
            account back with a new password, and would not know of this other way in.
    """
    user = (await connection.execute(_LINKER, {"the_session_id": session_id})).one_or_none()
    if user is None:
        raise LoginFailedError
    if not user.is_verified:
        raise EmailNotVerifiedError
    return user.id  # type: ignore[no-any-return]


async def _user_by_email(connection: AsyncConnection, proof: Proof) -> UUID:
    """Return the user with the address that the provider vouches for; a new one if there is none.

    Raises:
        EmailNotVerifiedError: it vouches for none.
        EmailTakenError: whoever signed up with the address has not verified it.
        LoginFailedError: the account is closed; nothing is linked to it.
    """
    try:
        email = normalized_email(proof.verified_email or "")
    except ValueError:
        raise EmailNotVerifiedError from None
    user = (await connection.execute(_BY_EMAIL, {"the_email": email})).one_or_none()
    if user is None:
        user_id = uuid4()
        name = proof.name[:_MAX_NAME] if proof.name else None
        await connection.execute(
            _SIGN_UP, {"id": user_id, "email": email, "full_name": name, "is_verified": True}
        )
        _log.info("user_signed_up", user_id=str(user_id))
        return user_id
    if not user.is_verified:
        raise EmailTakenError
    if not user.is_active:
        raise LoginFailedError
    return user.id  # type: ignore[no-any-return]


def _digest(provider: str, state: str, browser_secret: str) -> str:
    return hashlib.sha256(f"{provider}\n{state}\n{browser_secret}".encode()).hexdigest()
