"""Errors of the domain: raised by services, which know no HTTP, and presented by the API."""

from typing import ClassVar
from uuid import UUID


class DomainError(Exception):
    """A request that cannot be fulfilled, for a reason that its caller may know.

    `code` is a stable word for programs; the message is for people.
    """

    code: ClassVar[str]


class NotFoundError(DomainError):
    """Something that does not exist, or that the caller may not know to exist."""


class ConflictError(DomainError):
    """Something that does not go with what is already there."""


class UnavailableError(DomainError):
    """Something the service depends on does not answer; the same request may succeed later."""

    code = "service_unavailable"


class ItemNotFoundError(NotFoundError):
    """No item with this id."""

    code = "item_not_found"

    def __init__(self, item_id: UUID) -> None:
        super().__init__(f"There is no item {item_id}.")
