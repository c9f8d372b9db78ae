"""API keys."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import JSON, Index, true
from sqlmodel import Field

from app.db.types import Timestamp
from app.models.base import Table


class ApiKey(Table, table=True):
    """The digest of a key, with which nobody can call. Revoked keys stay, inactive."""

    __tablename__ = "api_keys"
    __table_args__ = (Index(None, "created_at", "id"),)

    name: str = Field(max_length=100)
    # Identifies the key in lists, and when it has leaked.
    prefix: str = Field(max_length=12, unique=True)
    digest: str = Field(max_length=64)
    scopes: list[str] = Field(sa_type=JSON)
    # The key that created it; revoking that one revokes this one too. NULL for the operator's.
    created_by: UUID | None = Field(
        default=None, foreign_key="api_keys.id", ondelete="CASCADE", index=True
    )
    expires_at: datetime | None = Field(default=None, sa_type=Timestamp)
    # To the minute.
    last_used_at: datetime | None = Field(default=None, sa_type=Timestamp)
    is_active: bool = Field(default=True, sa_column_kwargs={"server_default": true()})
