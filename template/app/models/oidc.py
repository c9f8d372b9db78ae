"""Identities at OpenID Connect providers, and logins in progress."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, Relationship

from app.db.types import Timestamp
from app.models.auth import AccountAccess, User
from app.models.base import Table


class Identity(AccountAccess, table=True):
    """An identity at a provider, and the user that it logs in as."""

    __tablename__ = "identities"
    __table_args__ = (UniqueConstraint("provider", "subject"),)

    # The name in `OIDC_PROVIDERS`: it must never be given to another provider.
    provider: str = Field(max_length=32)
    # The `sub` claim, which a provider gives to one person only, for good.
    subject: str = Field(max_length=255)

    # To be loaded with the identity, by an option of the statement, or not at all.
    user: User = Relationship(sa_relationship_kwargs={"lazy": "raise"})


class OidcLogin(Table, table=True):
    """A pending login at a provider. The first callback with the state deletes the row."""

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
