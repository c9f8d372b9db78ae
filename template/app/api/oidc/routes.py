"""Routes for login with OpenID Connect providers, and for linked identities."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Depends, Query, Response, status
from fastapi.responses import RedirectResponse

from app.api.auth.dependencies import (
    Accounts,
    ConfirmedUser,
    CurrentClient,
    CurrentLimits,
    CurrentUser,
)
from app.api.auth.routes import keep_from_caches
from app.api.oidc.dependencies import CurrentLoginCookie, Identities, Oidc
from app.api.problems import problem_responses
from app.schemas.oidc import (
    AuthorizationRequest,
    CallbackQuery,
    IdentityRead,
    LoginQuery,
    OidcTokenPair,
)
from app.services.auth.errors import EmailNotVerifiedError
from app.services.oidc.errors import (
    IdentityNotFoundError,
    IdentityTakenError,
    InvalidStateError,
    LastWayInError,
    LoginDeniedError,
    LoginFailedError,
    ProviderError,
    ProviderTimeoutError,
    UnknownProviderError,
    UnknownTargetError,
)

_PROVIDER = (UnknownProviderError, ProviderError, ProviderTimeoutError)

router = APIRouter(tags=["oidc"], dependencies=[Depends(keep_from_caches)])


@router.get(
    "/api/v1/auth/oidc/{provider}/login",
    status_code=status.HTTP_302_FOUND,
    response_class=RedirectResponse,
    responses=problem_responses(*_PROVIDER, UnknownTargetError),
)
async def begin_oidc_login(
    provider: str,
    query: Annotated[LoginQuery, Query()],
    oidc: Oidc,
    cookie: CurrentLoginCookie,
    limits: CurrentLimits,
) -> RedirectResponse:
    """Redirect to the provider to log in. The provider redirects back to the callback."""
    await limits.hit()
    begun = await oidc.begin(provider, query.next)
    response = RedirectResponse(
        begun.url, status.HTTP_302_FOUND, headers={"Cache-Control": "no-store"}
    )
    cookie.set(response, begun.browser_secret)
    return response


@router.post(
    "/api/v1/auth/oidc/{provider}/link",
    responses=problem_responses(*_PROVIDER, EmailNotVerifiedError),
)
async def begin_oidc_link(  # noqa: PLR0913, PLR0917, each is injected
    provider: str,
    user: ConfirmedUser,
    oidc: Oidc,
    cookie: CurrentLoginCookie,
    limits: CurrentLimits,
    response: Response,
) -> AuthorizationRequest:
    """Begin to link an identity to your account; open the returned URL to continue.

    It requires the password, or a login in the last ten minutes.
    """
    await limits.hit()
    begun = await oidc.begin_link(provider, user.session_id)
    cookie.set(response, begun.browser_secret)
    return AuthorizationRequest(authorization_url=begun.url)


@router.get(
    "/api/v1/auth/oidc/{provider}/callback",
    response_model_exclude_none=True,
    responses=problem_responses(
        *_PROVIDER,
        InvalidStateError,
        LoginDeniedError,
        LoginFailedError,
        EmailNotVerifiedError,
        IdentityTakenError,
    ),
)
async def finish_oidc_login(  # noqa: PLR0913, PLR0917, each is injected
    provider: str,
    query: Annotated[CallbackQuery, Query()],
    oidc: Oidc,
    cookie: CurrentLoginCookie,
    limits: CurrentLimits,
    client: CurrentClient,
    accounts: Accounts,
    later: BackgroundTasks,
    response: Response,
) -> OidcTokenPair:
    """Finish the login at the provider; the oldest sessions end (`SESSIONS_PER_USER`)."""
    await limits.hit()
    login = await oidc.finish(provider, query, cookie.value, client)
    if login.user.notify is not None:
        later.add_task(
            accounts.notify,
            login.user.notify,
            "identity_linked",
            provider=provider,
            has_lost_password=login.user.has_lost_password,
        )
    cookie.clear(response)
    return login.pair


@router.get("/api/v1/users/me/identities")
async def list_my_identities(user: CurrentUser, identities: Identities) -> list[IdentityRead]:
    """List the identities linked to your account."""
    return await identities.list_all(user.id)


@router.delete(
    "/api/v1/users/me/identities/{identity_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problem_responses(IdentityNotFoundError, LastWayInError),
)
async def unlink_my_identity(
    identity_id: UUID,
    user: ConfirmedUser,
    identities: Identities,
    accounts: Accounts,
    later: BackgroundTasks,
) -> None:
    """Unlink an identity, unless it is the only way to log in.

    It requires the password, or a login in the last ten minutes.
    """
    email, provider = await identities.unlink(user.id, identity_id)
    later.add_task(accounts.notify, email, "identity_unlinked", provider=provider)
