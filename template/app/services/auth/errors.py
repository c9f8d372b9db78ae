"""Errors of accounts, sessions and users."""

from uuid import UUID

from app.core.errors import (
    BadRequestError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnauthenticatedError,
)


class InvalidCredentialsError(UnauthenticatedError):
    """A login that fails. The client does not learn the reason."""

    code = "invalid_credentials"
    challenge = "Bearer"

    def __init__(self) -> None:
        super().__init__("The e-mail address or the password is wrong.")


class InvalidLinkError(BadRequestError):
    """A token from an e-mail that is forged, expired or used."""

    code = "invalid_token"

    def __init__(self) -> None:
        super().__init__("The token is not valid, or no longer.")


class WrongPasswordError(BadRequestError):
    """Not the password of the account."""

    code = "wrong_password"

    def __init__(self) -> None:
        super().__init__("The current password is wrong.")


class ReauthenticationRequiredError(ForbiddenError):
    """A sensitive change in a session whose login is too long ago."""

    code = "reauthentication_required"

    def __init__(self) -> None:
        super().__init__("This needs the password, or a login of the last ten minutes.")


class EmailNotVerifiedError(ForbiddenError):
    """The account's e-mail address is not verified."""

    code = "email_not_verified"

    def __init__(self) -> None:
        super().__init__("This needs an e-mail address that has been verified.")


class EmailTakenError(ConflictError):
    """Another account has this e-mail address, active or not."""

    code = "email_taken"

    def __init__(self) -> None:
        super().__init__(
            "There is an account with this e-mail address. Its owner can reset the password."
        )


class LastAdminError(ConflictError):
    """The service would have no active administrator."""

    code = "last_admin"

    def __init__(self) -> None:
        super().__init__("The last administrator has to stay one.")


class SessionNotFoundError(NotFoundError):
    """The user has no session with this id."""

    code = "session_not_found"

    def __init__(self, session_id: UUID) -> None:
        super().__init__(f"There is no session {session_id}.")


class UserNotFoundError(NotFoundError):
    """No user with this id."""

    code = "user_not_found"

    def __init__(self, user: UUID | str) -> None:
        super().__init__(f"There is no user {user}.")
