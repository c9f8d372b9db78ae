"""Sessions: one row for each login that lasts."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Field

from app.db.types import Timestamp
from app.models.base import Table


class LoginSession(Table, table=True):
    """A login. Its id is the `sid` of its tokens; without the row they are worth nothing."""

    __tablename__ = "login_sessions"

    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    # SHA-256, in hexadecimal, of the one refresh token that is valid.
    refresh_digest: str = Field(max_length=64)
    expires_at: datetime = Field(sa_type=Timestamp, index=True)
