"""Logins with OpenID providers, and the identities that they link."""

from typing import Annotated

from fastapi import Depends, Request

from app.api.auth.dependencies import Accounts
from app.api.database import Connection, CurrentDatabase
from app.api.oidc.cookie import LoginCookie
from app.services.oidc.identities import IdentityService
from app.services.oidc.login import OidcService


async def get_oidc(request: Request, database: CurrentDatabase, accounts: Accounts) -> OidcService:
    """Return the logins with providers, with connections of their own."""
    state = request.app.state
    return OidcService(database, state.settings, state.oidc_providers, accounts)


Oidc = Annotated[OidcService, Depends(get_oidc)]


async def get_login_cookie(request: Request) -> LoginCookie:
    """Return the cookie of a login that was begun in this browser."""
    return LoginCookie(request, request.app.state.settings)


CurrentLoginCookie = Annotated[LoginCookie, Depends(get_login_cookie)]


async def get_identities(connection: Connection) -> IdentityService:
    """Return the identities, inside the request's connection."""
    return IdentityService(connection)


Identities = Annotated[IdentityService, Depends(get_identities)]
