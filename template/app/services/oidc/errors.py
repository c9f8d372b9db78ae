"""Errors about logging in with an OpenID Connect provider."""

from uuid import UUID

from app.core.errors import (
    BadRequestError,
    ConflictError,
    NotFoundError,
    UnauthenticatedError,
    UpstreamError,
    UpstreamTimeoutError,
)


class UnknownProviderError(NotFoundError):
    """No provider of this name is configured."""

    code = "provider_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such provider.")


class UnknownTargetError(BadRequestError):
    """A path after login that is not among those configured."""

    code = "target_not_allowed"

    def __init__(self) -> None:
        super().__init__("Nobody is sent to this path after login.")


class InvalidStateError(BadRequestError):
    """A callback without a pending login in this browser: forged, expired, or used before."""

    code = "invalid_login_state"

    def __init__(self) -> None:
        super().__init__("This login was not begun in this browser, or is over. Begin again.")


class LoginDeniedError(BadRequestError):
    """The provider or the user denied the login."""

    code = "login_denied"

    def __init__(self) -> None:
        super().__init__("The provider did not allow the login.")


class LoginFailedError(UnauthenticatedError):
    """The provider's response is not a valid proof of identity, or the account is not active."""

    code = "login_failed"
    challenge = "Bearer"

    def __init__(self) -> None:
        super().__init__("The login with this provider failed.")


class IdentityTakenError(ConflictError):
    """The identity is linked to another account."""

    code = "identity_taken"

    def __init__(self) -> None:
        super().__init__("This identity is linked to another account.")


class LastWayInError(ConflictError):
    """The account would have no way to log in."""

    code = "last_way_in"

    def __init__(self) -> None:
        super().__init__("It is the only way to log in. Set a password first.")


class IdentityNotFoundError(NotFoundError):
    """No identity with this id is linked to the account."""

    code = "identity_not_found"

    def __init__(self, identity_id: UUID) -> None:
        super().__init__(f"There is no identity {identity_id}.")


class ProviderError(UpstreamError):
    """The provider cannot be reached, or its response is invalid. The log has the details."""

    code = "provider_error"

    def __init__(self) -> None:
        super().__init__("The provider did not answer as it should. Try again later.")


class ProviderTimeoutError(UpstreamTimeoutError):
    """The provider takes too long to answer."""

    code = "provider_timeout"

    def __init__(self) -> None:
        super().__init__("The provider takes too long to answer. Try again later.")
