"""Routes for sign-up, login, logout, tokens and password reset."""

from typing import Annotated, Final

from fastapi import APIRouter, BackgroundTasks, Depends, Form, Response, status

from app.api.auth.dependencies import (
    Accounts,
    CurrentClient,
    CurrentLimits,
    CurrentTokens,
    CurrentUser,
    Users,
)
from app.api.database import Connection
from app.api.problems import problem_responses
from app.core.security.tokens import InvalidTokenError, TokenType
from app.schemas.auth import (
    Accepted,
    EmailVerification,
    ForgottenPassword,
    LoginForm,
    PasswordReset,
    PublicKeySet,
    RefreshRequest,
    TokenPair,
    UserCreate,
    UserRead,
)
from app.services.auth import sessions
from app.services.auth.accounts import AccountService
from app.services.auth.errors import EmailTakenError, InvalidCredentialsError, InvalidLinkError


async def keep_from_caches(response: Response) -> None:
    """Forbid every cache on the way to keep a token (RFC 6749 section 5.1)."""
    response.headers["Cache-Control"] = "no-store"


router = APIRouter(prefix="/api/v1/auth", tags=["auth"], dependencies=[Depends(keep_from_caches)])
well_known = APIRouter(prefix="/.well-known", tags=["auth"])
_NO_MAIL: Final = "This service sends no e-mail: it has no mail server."
_INVALID_LINK = problem_responses(InvalidLinkError)


@router.post(
    "/sign-up",
    status_code=status.HTTP_201_CREATED,
    responses=problem_responses(EmailTakenError),
)
async def sign_up(
    data: UserCreate, accounts: Accounts, limits: CurrentLimits, later: BackgroundTasks
) -> UserRead:
    """Create an account, and send an e-mail to confirm the address."""
    await limits.hit(data.email)
    user = await limits.while_connected(accounts.sign_up(data))
    later.add_task(accounts.send_verification, user)
    return user


@router.post("/login", responses=problem_responses(InvalidCredentialsError))
async def log_in(
    form: Annotated[LoginForm, Form()],
    accounts: Accounts,
    limits: CurrentLimits,
    client: CurrentClient,
) -> TokenPair:
    """Log in with e-mail address and password; the oldest sessions end (`SESSIONS_PER_USER`)."""
    await limits.hit(form.username)
    await limits.hit_password(form.username)
    pair = await limits.while_connected(
        accounts.log_in(form.username, form.password.get_secret_value(), client)
    )
    await limits.clear_password(form.username)
    return pair


@router.post("/refresh", responses=problem_responses(InvalidTokenError))
async def refresh_tokens(
    data: RefreshRequest,
    accounts: Accounts,
    limits: CurrentLimits,
    tokens: CurrentTokens,
    client: CurrentClient,
) -> TokenPair:
    """Exchange a refresh token for a new pair. Using a refresh token twice ends the session.

    Within `REFRESH_GRACE_SECONDS` of its first use, it works again.
    """
    await limits.hit()
    claims = tokens.read(data.refresh_token, TokenType.REFRESH)
    await limits.hit_account(str(claims.subject))
    return await accounts.refresh(claims, client)


@router.post("/logout", status_code=status.HTTP_204_NO_CONTENT)
async def log_out(user: CurrentUser, connection: Connection) -> None:
    """End this session; its tokens are invalid at once."""
    await sessions.end(connection, user.session_id, user.id)


def _accepted(accounts: AccountService, detail: str) -> Accepted:
    return Accepted(detail=detail if accounts.sends_mail else _NO_MAIL)


@router.post("/forgot-password", status_code=status.HTTP_202_ACCEPTED)
async def forgot_password(
    data: ForgottenPassword, accounts: Accounts, limits: CurrentLimits, later: BackgroundTasks
) -> Accepted:
    """Request a password reset by e-mail. The response is the same for every address."""
    await limits.hit(data.email)
    # Always in the background, so that the response time does not reveal whether an account exists.
    if await limits.allows_mail(data.email):
        later.add_task(accounts.send_reset, data.email)
    return _accepted(accounts, "If there is an account with this address, an e-mail is on its way.")


@router.post("/reset-password", status_code=status.HTTP_204_NO_CONTENT, responses=_INVALID_LINK)
async def reset_password(
    data: PasswordReset, accounts: Accounts, limits: CurrentLimits, later: BackgroundTasks
) -> None:
    """Set a new password with the token from the e-mail; all sessions and linked logins end."""
    await limits.hit()
    claims = accounts.read_link(data.token, TokenType.RESET)
    await limits.hit_account(str(claims.subject))
    email = await limits.while_connected(
        accounts.reset_password(claims, data.new_password.get_secret_value())
    )
    await limits.clear_password(email)
    later.add_task(accounts.notify, email, "password_reset")


@router.post("/verify-email", status_code=status.HTTP_204_NO_CONTENT, responses=_INVALID_LINK)
async def verify_email(data: EmailVerification, accounts: Accounts, limits: CurrentLimits) -> None:
    """Confirm the e-mail address with the token that was sent to it."""
    await limits.hit()
    claims = accounts.read_link(data.token, TokenType.VERIFY)
    await limits.hit_account(str(claims.subject))
    await accounts.verify_email(claims)


@router.post("/verify-email/resend", status_code=status.HTTP_202_ACCEPTED)
async def resend_verification(
    user: CurrentUser,
    users: Users,
    accounts: Accounts,
    limits: CurrentLimits,
    later: BackgroundTasks,
) -> Accepted:
    """Send another e-mail to confirm your address, unless it is confirmed."""
    await limits.hit(str(user.id))
    me = await users.get(user.id)
    if not me.is_verified and await limits.allows_mail(me.email):
        later.add_task(accounts.send_verification, me)
    return _accepted(accounts, "If your address is not confirmed yet, an e-mail is on its way.")


@well_known.get("/jwks.json")
async def read_public_keys(tokens: CurrentTokens) -> PublicKeySet:
    """Read the public keys that other services verify access tokens with."""
    return PublicKeySet.model_validate(tokens.key_set)
