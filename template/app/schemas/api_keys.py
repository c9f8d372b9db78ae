"""Requests and responses about API keys."""

from datetime import datetime
from typing import Annotated, get_args
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.core.security.scopes import Scope
from app.schemas.text import Text


def _is_printable(name: str) -> str:
    # Operators list keys in a terminal, which control characters would steer.
    if not name.isprintable():
        raise ValueError("must not contain control characters or line breaks")
    return name


class ApiKeyCreate(BaseModel):
    """A key to be made."""

    name: Annotated[Text, Field(min_length=1, max_length=100), AfterValidator(_is_printable)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(get_args(Scope)))]
    expires_in_days: Annotated[int, Field(ge=1, le=3650)] | None = Field(
        default=None, description="Left out, it lasts as long as the key that makes it."
    )


class ApiKeyRead(BaseModel):
    """A key, without its secret, which nobody keeps."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    prefix: str
    scopes: list[Scope]
    is_active: bool
    created_by: UUID | None = Field(description="The key that made it; null for the operator's.")
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class ApiKeyCreated(ApiKeyRead):
    """A new key, with its secret: it is not shown again."""

    key: str


class ApiKeyQuery(BaseModel):
    """Which keys to list; the newest come first."""

    model_config = ConfigDict(extra="forbid")

    skip: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    limit: Annotated[int, Field(ge=1, le=100)] = 50


class ApiKeyPage(BaseModel):
    """Some of the keys, and how many there are."""

    items: list[ApiKeyRead]
    total: int
    skip: int
    limit: int
    has_more: bool
