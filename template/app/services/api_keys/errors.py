"""Errors about API keys."""

from app.core.errors import ForbiddenError, UnauthenticatedError


class InvalidApiKeyError(UnauthenticatedError):
    """No valid key was presented. The client does not learn the reason."""

    # The scheme has no registered name; it is the one that FastAPI uses.
    challenge = "APIKey"

    def __init__(self) -> None:
        super().__init__("A valid API key is needed.")


class InsufficientScopeError(ForbiddenError):
    """The key is valid, and does not allow this."""

    code = "insufficient_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"The API key lacks the scope {scope}.")
