"""The dependency that verifies the access token of a request."""

from typing import Final

from fastapi.openapi.models import OAuth2, OAuthFlowPassword, OAuthFlows
from fastapi.requests import HTTPConnection
from fastapi.security.base import SecurityBase
from fastapi.security.utils import get_authorization_scheme_param

from app.core.security.tokens import (
    Claims,
    InvalidTokenError,
    LoginRequiredError,
    Tokens,
    TokenType,
)

# Relative, so that it works under any root path.
_LOGIN: Final = "api/v1/auth/login"


class AccessToken(SecurityBase):
    """Dependency for the claims of the access token, before any database query.

    It declares the password flow in OpenAPI, so that Swagger UI can log in. FastAPI's own scheme
    and the verification would be three dependencies, and each costs time in every request.
    """

    def __init__(self) -> None:
        self.scheme_name = "password"
        flow = OAuthFlowPassword(tokenUrl=_LOGIN, scopes={})
        self.model = OAuth2(flows=OAuthFlows(password=flow))

    async def __call__(self, request: HTTPConnection) -> Claims:
        """Return the claims.

        Raises:
            LoginRequiredError: there is no token.
            InvalidTokenError: it is invalid, or there are several: a gateway may have checked
                another one.
        """
        headers = request.headers.getlist("Authorization")
        if len(headers) > 1:
            raise InvalidTokenError
        scheme, token = get_authorization_scheme_param(headers[0] if headers else None)
        if scheme.lower() != "bearer":
            raise LoginRequiredError
        tokens: Tokens = request.app.state.tokens
        return tokens.read(token, TokenType.ACCESS)
