"""Dependencies for the current user, and for the account and user services."""

from typing import Annotated

from fastapi import Body, Depends, Request
from fastapi.requests import HTTPConnection

from app.api.auth.access_token import AccessToken
from app.api.auth.limits import AuthLimits
from app.api.database import Connection, CurrentDatabase
from app.api.problems import raises
from app.core.errors import ForbiddenError, RateLimitedError
from app.core.security.tokens import Claims, InvalidTokenError, LoginRequiredError, Tokens
from app.schemas.auth import Confirmation
from app.services.auth import sessions
from app.services.auth.accounts import AccountService
from app.services.auth.errors import (
    EmailNotVerifiedError,
    ReauthenticationRequiredError,
    WrongPasswordError,
)
from app.services.auth.sessions import Caller, Client
from app.services.auth.users import UserService


async def get_tokens(request: HTTPConnection) -> Tokens:
    """Return the service that signs and verifies tokens."""
    tokens: Tokens = request.app.state.tokens
    return tokens


CurrentTokens = Annotated[Tokens, Depends(get_tokens)]


read_claims = raises(LoginRequiredError, InvalidTokenError)(AccessToken())
ReadClaims = Annotated[Claims, Depends(read_claims)]


async def get_current_user(claims: ReadClaims, connection: Connection) -> Caller:
    """Return the current user.

    Raises:
        InvalidTokenError: the session has ended, or the account is not active.
    """
    return await sessions.get_caller(connection, claims)


CurrentUser = Annotated[Caller, Depends(get_current_user)]


async def get_detached_user(claims: ReadClaims, database: CurrentDatabase) -> Caller:
    """Return the current user, but keep no connection: for routes that wait for other services.

    Raises:
        InvalidTokenError: the session has ended, or the account is not active.
    """
    async with database.reading() as connection:
        return await sessions.get_caller(connection, claims)


DetachedUser = Annotated[Caller, Depends(get_detached_user)]


@raises(EmailNotVerifiedError)
async def get_verified_user(request: HTTPConnection, user: CurrentUser) -> Caller:
    """Return the current user, whose address is verified if `REQUIRE_VERIFIED_EMAIL` is set.

    Raises:
        EmailNotVerifiedError: it is not.
    """
    if request.app.state.settings.require_verified_email and not user.is_verified:
        raise EmailNotVerifiedError
    return user


VerifiedUser = Annotated[Caller, Depends(get_verified_user)]


@raises(ForbiddenError)
async def get_current_admin(user: CurrentUser) -> Caller:
    """Return the current user, who must be an administrator.

    Raises:
        ForbiddenError: the caller is not one.
    """
    if not user.is_admin:
        raise ForbiddenError("Only administrators may do this.")
    return user


CurrentAdmin = Annotated[Caller, Depends(get_current_admin)]


async def get_client(request: HTTPConnection) -> Client:
    """Return the client's address and `User-Agent`, as the list of sessions shows them."""
    address = request.client.host if request.client else None
    user_agent = request.headers.get("User-Agent")
    return Client(_printable(address, 64), _printable(user_agent, 255))


def _printable(text: str | None, max_length: int) -> str | None:
    return "".join(filter(str.isprintable, text))[:max_length] if text else None


CurrentClient = Annotated[Client, Depends(get_client)]


@raises(RateLimitedError)
async def get_limits(request: Request) -> AuthLimits:
    """Return the rate limits of this authentication route."""
    state = request.app.state
    return AuthLimits(request, state.rate_limiter, state.settings)


CurrentLimits = Annotated[AuthLimits, Depends(get_limits)]


async def get_accounts(
    request: HTTPConnection, database: CurrentDatabase, tokens: CurrentTokens
) -> AccountService:
    """Return the account service, which opens its own connections."""
    state = request.app.state
    return AccountService(database, state.settings, tokens, state.mailer)


Accounts = Annotated[AccountService, Depends(get_accounts)]


@raises(ReauthenticationRequiredError, WrongPasswordError)
async def get_confirmed_user(
    user: DetachedUser,
    accounts: Accounts,
    limits: CurrentLimits,
    confirmation: Annotated[Confirmation | None, Body()] = None,
) -> Caller:
    """Return the current user after a recent login or with the password, for sensitive changes.

    Raises:
        ReauthenticationRequiredError: neither.
        WrongPasswordError: it is another password.
        RateLimitedError: there were too many passwords.
    """
    if confirmation is not None and confirmation.password is not None:
        account = str(user.id)
        await limits.hit(account)
        await limits.hit_password(account)
        password = confirmation.password.get_secret_value()
        await limits.while_connected(accounts.check_password(user, password))
        await limits.clear_password(account)
    elif not user.has_just_logged_in:
        raise ReauthenticationRequiredError
    return user


ConfirmedUser = Annotated[Caller, Depends(get_confirmed_user)]


async def get_users(connection: Connection) -> UserService:
    """Return the user service, which uses the request's connection."""
    return UserService(connection)


Users = Annotated[UserService, Depends(get_users)]
