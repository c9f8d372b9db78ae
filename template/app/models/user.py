"""Users."""

from enum import StrEnum

from sqlalchemy import Index, false, true
from sqlmodel import Field

from app.models.base import Table


class Role(StrEnum):
    """What a user may do: see to their own things, or to everybody's."""

    USER = "user"
    ADMIN = "admin"


class User(Table, table=True):
    """Someone with an account. Deleted ones stay, inactive, and keep their e-mail address."""

    __tablename__ = "users"
    __table_args__ = (Index(None, "created_at", "id"),)

    # In lower case, so that it is unique whichever way it is written.
    email: str = Field(max_length=254, unique=True)
    full_name: str | None = Field(default=None, max_length=255)
    # Optional: other ways to log in need none.
    hashed_password: str | None = Field(default=None, max_length=255)
    role: str = Field(
        default=Role.USER, max_length=16, index=True, sa_column_kwargs={"server_default": "user"}
    )
    is_active: bool = Field(default=True, index=True, sa_column_kwargs={"server_default": true()})
    is_verified: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
