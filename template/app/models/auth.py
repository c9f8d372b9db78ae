"""Users and their sessions."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, Index, false, true
from sqlmodel import Field

from app.db.types import Timestamp, server_now
from app.models.base import Table


class Role(StrEnum):
    """Users can access their own data, administrators everybody's."""

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


class AccountAccess(Table):
    """A credential other than the password. A password reset deletes every kind."""

    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)


class LoginSession(AccountAccess, table=True):
    """A login. Its id is the `sid` of its tokens, which are invalid without the row."""

    __tablename__ = "login_sessions"

    # How often the refresh token was exchanged, and when last. A refresh token has this number in
    # its id, and is valid while they are equal.
    generation: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    rotated_at: datetime | None = Field(default=None, sa_type=Timestamp)
    # The last login or refresh, and the client that sent it.
    last_used_at: datetime = Field(
        default=None,
        sa_type=Timestamp,
        sa_column_kwargs={"server_default": server_now(), "nullable": False},
    )
    address: str | None = Field(default=None, max_length=64)
    user_agent: str | None = Field(default=None, max_length=255)
    expires_at: datetime = Field(sa_type=Timestamp, index=True)
