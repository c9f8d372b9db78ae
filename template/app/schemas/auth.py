"""Requests and responses about authentication and users."""

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
)
from pydantic.json_schema import SkipJsonSchema

from app.core.security.passwords import MAX_LENGTH, MIN_LENGTH, is_common, normalized
from app.schemas.text import STORABLE

_EXAMPLE_PASSWORD: Final = "three blue herons"  # noqa: S105
_EXAMPLE_TOKEN: Final = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"  # noqa: S105


def normalized_email(text: str) -> str:
    """Return the form in which addresses are kept and compared.

    Raises:
        ValueError: it is not an e-mail address.
    """
    try:
        # ASCII only: lower-casing other letters can make two addresses one.
        email = validate_email(text, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError:
        raise ValueError("is not an e-mail address") from None
    return (email.ascii_email or email.normalized).lower()


def _is_not_too_long(password: SecretStr) -> SecretStr:
    if len(password) > MAX_LENGTH:
        raise ValueError(f"must have at most {MAX_LENGTH} characters")
    try:
        password.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain lone surrogates") from None
    return password


def _is_acceptable(password: SecretStr) -> SecretStr:
    # As it is hashed: a letter and its accent count once, however they were typed.
    if len(normalized(password.get_secret_value())) < MIN_LENGTH:
        raise ValueError(f"must have at least {MIN_LENGTH} characters")
    if is_common(password.get_secret_value()):
        raise ValueError("is one of the commonest passwords; choose another")
    return password


Email = Annotated[
    str,
    Field(max_length=254, json_schema_extra={"format": "email"}, examples=["ann@example.com"]),
    STORABLE,
    AfterValidator(normalized_email),
]
FullName = Annotated[str, Field(max_length=255, examples=["Ann Smith"]), STORABLE]
# A password to verify; a longer one is rejected before it is hashed.
GivenPassword = Annotated[
    SecretStr,
    AfterValidator(_is_not_too_long),
    Field(json_schema_extra={"maxLength": MAX_LENGTH}, examples=[_EXAMPLE_PASSWORD]),
]
# A new password.
NewPassword = Annotated[
    GivenPassword,
    AfterValidator(_is_acceptable),
    Field(
        json_schema_extra={"minLength": MIN_LENGTH, "maxLength": MAX_LENGTH},
        examples=[_EXAMPLE_PASSWORD],
    ),
]
# Our tokens are shorter.
Token = Annotated[str, Field(max_length=4096, examples=[_EXAMPLE_TOKEN])]


class UserCreate(BaseModel):
    """A new account."""

    email: Email
    password: NewPassword
    full_name: FullName | None = None


class ProfileUpdate(BaseModel):
    """The fields that users can change in their own account."""

    full_name: FullName | None = None


class UserUpdate(ProfileUpdate):
    """The fields that administrators can change in any account."""

    email: Email | SkipJsonSchema[None] = None
    role: Literal["user", "admin"] | SkipJsonSchema[None] = None
    is_active: bool | SkipJsonSchema[None] = None
    is_verified: bool | SkipJsonSchema[None] = None

    @field_validator("email", "role", "is_active", "is_verified")
    @classmethod
    def _is_given(cls, value: object) -> object:
        if value is None:
            raise ValueError("must not be null")
        return value


class PasswordChange(BaseModel):
    """The current password, and the new one."""

    current_password: GivenPassword
    new_password: NewPassword


class Confirmation(BaseModel):
    """The password, for a sensitive change in a session whose login is too long ago."""

    password: GivenPassword | None = None


class UserRead(BaseModel):
    """A user."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: Annotated[str, Field(examples=["ann@example.com"])]
    full_name: Annotated[str | None, Field(examples=["Ann Smith"])]
    role: Literal["user", "admin"]
    is_active: bool
    is_verified: bool
    created_at: datetime
    updated_at: datetime


class SessionRead(BaseModel):
    """A login that has not ended. `last_used_at` is the time of its last login or refresh."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    user_agent: str | None
    address: str | None
    is_current: bool


class UserQuery(BaseModel):
    """Which users to list; the newest come first."""

    model_config = ConfigDict(extra="forbid")

    # The largest 32-bit integer; no table has more rows to skip.
    skip: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    limit: Annotated[int, Field(ge=1, le=100)] = 50


class UserPage(BaseModel):
    """Some of the users, and how many there are in all."""

    items: list[UserRead]
    total: int
    skip: int
    limit: int
    has_more: bool


class LoginForm(BaseModel):
    """The form of OAuth 2.0's password grant, RFC 6749 section 4.3.2."""

    grant_type: Literal["password"] = "password"
    username: Annotated[str, Field(max_length=254, examples=["ann@example.com"]), STORABLE]
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
    """The tokens of a login or refresh. `expires_in` is in seconds, for the access token."""

    access_token: Annotated[str, Field(examples=[_EXAMPLE_TOKEN])]
    refresh_token: Annotated[str, Field(examples=[_EXAMPLE_TOKEN])]
    token_type: Literal["bearer"] = "bearer"  # noqa: S105, the name of a type
    expires_in: Annotated[int, Field(examples=[900])]


class RefreshRequest(BaseModel):
    """The refresh token to exchange."""

    refresh_token: Token


class ForgottenPassword(BaseModel):
    """The address of the account whose password is forgotten."""

    email: Email


class PasswordReset(BaseModel):
    """The token from the e-mail, and the new password."""

    token: Token
    new_password: NewPassword


class EmailVerification(BaseModel):
    """The token from the e-mail."""

    token: Token


class Accepted(BaseModel):
    """The request is accepted. The answer does not depend on the account."""

    detail: str


class PublicKeySet(BaseModel):
    """A JSON Web Key Set, RFC 7517."""

    keys: list[dict[str, str]]
