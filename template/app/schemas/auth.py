"""Requests and responses about logging in."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_validator

from app.schemas.text import STORABLE
from app.schemas.user import Email, GivenPassword, NewPassword, normalized_email

# What we sign is shorter.
Token = Annotated[str, Field(max_length=4096)]


class LoginForm(BaseModel):
    """The form of OAuth 2.0's password grant, RFC 6749 section 4.3.2."""

    grant_type: Literal["password"] = "password"
    username: Annotated[str, Field(max_length=254), STORABLE]
    password: GivenPassword

    @field_validator("username")
    @classmethod
    def _names_an_account(cls, value: str) -> str:
        try:
            return normalized_email(value)
        except ValueError:
            # Nobody has this name: it is refused like a wrong password.
            return value


class TokenPair(BaseModel):
    """What a login or a refresh gives. `expires_in` is in seconds, for the access token."""

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105, the name of a type
    expires_in: int


class RefreshRequest(BaseModel):
    """The refresh token to exchange."""

    refresh_token: Token


class ForgottenPassword(BaseModel):
    """Whose password is forgotten."""

    email: Email


class PasswordReset(BaseModel):
    """The token from the e-mail, and the password from now on."""

    token: Token
    new_password: NewPassword


class EmailVerification(BaseModel):
    """The token from the e-mail."""

    token: Token


class Accepted(BaseModel):
    """What is answered whether or not there is such an account."""

    detail: str = "If there is an account with this address, an e-mail is on its way."


class PublicKeySet(BaseModel):
    """A JSON Web Key Set, RFC 7517."""

    keys: list[dict[str, str]]
