"""Errors about who calls: not known, not allowed, or too often."""

from typing import ClassVar

from app.core.errors import DomainError


class UnauthenticatedError(DomainError):
    """The caller did not prove who they are. The message must not say what was wrong.

    `challenge` names the scheme that would prove it, as in `WWW-Authenticate` (RFC 9110).
    """

    code = "unauthenticated"
    challenge: ClassVar[str]


class ForbiddenError(DomainError):
    """The caller is known, and may not do this."""

    code = "forbidden"


class RateLimitedError(DomainError):
    """The caller did it too often. `retry_after` is in seconds."""

    code = "rate_limited"

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"Too many requests. Try again in {retry_after} s.")
        self.retry_after = retry_after
