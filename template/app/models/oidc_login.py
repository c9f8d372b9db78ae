"""Logins that have been begun at an OpenID Connect provider."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Field

from app.db.types import Timestamp
from app.models.base import Table


class OidcLogin(Table, table=True):
    """Someone was sent to a provider; whoever comes back first with the state takes the row."""

    __tablename__ = "oidc_logins"

    # SHA-256, in hexadecimal, of the provider, the state and the secret of the browser.
    digest: str = Field(max_length=64, unique=True)
    nonce: str = Field(max_length=64)
    code_verifier: str = Field(max_length=128)
    next_path: str | None = Field(default=None, max_length=255)
    # The session whose user wants the identity linked. The request ends with the session.
    session_id: UUID | None = Field(
        default=None, foreign_key="login_sessions.id", ondelete="CASCADE", index=True
    )
    expires_at: datetime = Field(sa_type=Timestamp, index=True)
