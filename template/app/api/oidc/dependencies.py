"""Dependencies for login with OpenID Connect providers, and for linked identities."""

from typing import Annotated

from fastapi import Depends, Request

from app.api.auth.dependencies import Accounts
from app.api.database import Connection, CurrentDatabase
from app.api.oidc.cookie import LoginCookie
from app.services.oidc.identities import IdentityService
from app.services.oidc.login import OidcService


async def get_oidc(request: Request, database: CurrentDatabase, accounts: Accounts) -> OidcService:
    """Return the login service, which opens its own database connections."""
    state = request.app.state
    return OidcService(database, state.settings, state.oidc_providers, accounts)


Oidc = Annotated[OidcService, Depends(get_oidc)]


async def get_login_cookie(request: Request) -> LoginCookie:
    """Return the login cookie."""
    return LoginCookie(request, request.app.state.settings)


CurrentLoginCookie = Annotated[LoginCookie, Depends(get_login_cookie)]


async def get_identities(connection: Connection) -> IdentityService:
    """Return the identity service, which uses the request's connection."""
    return IdentityService(connection)


Identities = Annotated[IdentityService, Depends(get_identities)]
