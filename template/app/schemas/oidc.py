"""Requests and responses about logging in with OpenID Connect."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.auth import TokenPair
from app.schemas.text import Text

# Values from providers are shorter, and so are all paths that can be configured.
_Parameter = Annotated[Text, Field(max_length=4096)]
_Path = Annotated[Text, Field(max_length=255)]


class LoginQuery(BaseModel):
    """Where to go after the login: one of the paths of `OIDC_NEXT_PATHS`."""

    next: _Path | None = None


class CallbackQuery(BaseModel):
    """An authorization response: OpenID Connect Core 1.0 section 3.1.2.5, RFC 9207.

    Providers add members of their own, which mean nothing to us.
    """

    state: _Parameter | None = None
    code: _Parameter | None = None
    error: _Parameter | None = None
    iss: _Parameter | None = None


class OidcTokenPair(TokenPair):
    """The tokens of a login, and the path that was requested as `next`, if any."""

    next: str | None = None


class AuthorizationRequest(BaseModel):
    """The URL to redirect the browser to, with the cookie of this response."""

    authorization_url: str


class IdentityRead(BaseModel):
    """A linked identity: the subject is what the provider calls its owner."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    provider: str
    subject: str
    created_at: datetime
