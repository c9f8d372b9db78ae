"""API keys."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import JSON, Index, true
from sqlmodel import Field

from app.db.types import Timestamp
from app.models.base import Table


class ApiKey(Table, table=True):
    """What is kept of a key; nobody can call with it. Revoked ones stay, inactive."""

    __tablename__ = "api_keys"
    __table_args__ = (Index(None, "created_at", "id"),)

    name: str = Field(max_length=100)
    # Names the key, in lists and when it turns up where it should not be.
    prefix: str = Field(max_length=12, unique=True)
    digest: str = Field(max_length=64)
    scopes: list[str] = Field(sa_type=JSON)
    # The key that made it, and that takes it along when it is revoked; NULL for the operator's.
    created_by: UUID | None = Field(
        default=None, foreign_key="api_keys.id", ondelete="CASCADE", index=True
    )
    expires_at: datetime | None = Field(default=None, sa_type=Timestamp)
    # To the minute.
    last_used_at: datetime | None = Field(default=None, sa_type=Timestamp)
    is_active: bool = Field(default=True, sa_column_kwargs={"server_default": true()})
