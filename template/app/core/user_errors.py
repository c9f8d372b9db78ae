"""Errors about users: who they are, and what may become of their accounts."""

from uuid import UUID

from app.core.auth_errors import UnauthenticatedError
from app.core.errors import ConflictError, DomainError, NotFoundError


class LoginRequiredError(UnauthenticatedError):
    """No token came with the request."""

    challenge = "Bearer"

    def __init__(self) -> None:
        super().__init__("An access token is needed.")


class InvalidTokenError(UnauthenticatedError):
    """A token that is forged, expired, of another type, or of a session that has ended."""

    code = "invalid_token"
    challenge = 'Bearer error="invalid_token"'

    def __init__(self) -> None:
        super().__init__("The token is not valid, or no longer.")


class InvalidCredentialsError(UnauthenticatedError):
    """A login that fails; nobody is told why."""

    code = "invalid_credentials"
    challenge = "Bearer"

    def __init__(self) -> None:
        super().__init__("The e-mail address or the password is wrong.")


class RefusedError(DomainError):
    """Something in the request is not accepted."""


class InvalidLinkError(RefusedError):
    """A token from an e-mail that is forged, expired or used."""

    code = "invalid_token"

    def __init__(self) -> None:
        super().__init__("The token is not valid, or no longer.")


class WrongPasswordError(RefusedError):
    """Not the password of the account."""

    code = "wrong_password"

    def __init__(self) -> None:
        super().__init__("The current password is wrong.")


class EmailTakenError(ConflictError):
    """Another account has this e-mail address, active or not."""

    code = "email_taken"

    def __init__(self) -> None:
        super().__init__("There is an account with this e-mail address.")


class LastAdminError(ConflictError):
    """Nobody would be left to administer the service."""

    code = "last_admin"

    def __init__(self) -> None:
        super().__init__("The last administrator has to stay one.")


class UserNotFoundError(NotFoundError):
    """No user with this id."""

    code = "user_not_found"

    def __init__(self, user_id: UUID) -> None:
        super().__init__(f"There is no user {user_id}.")
