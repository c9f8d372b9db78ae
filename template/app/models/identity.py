"""Identities at OpenID Connect providers."""

from uuid import UUID

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, Relationship

from app.models.base import Table
from app.models.user import User


class Identity(Table, table=True):
    """Who a provider says that someone is, and the user that they log in as."""

    __tablename__ = "identities"
    __table_args__ = (UniqueConstraint("provider", "subject"),)

    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    # The name in `OIDC_PROVIDERS`: it must never be given to another provider.
    provider: str = Field(max_length=32)
    # The `sub` claim, which a provider gives to one person only, for good.
    subject: str = Field(max_length=255)

    # To be loaded with the identity, by an option of the statement, or not at all.
    user: User = Relationship(sa_relationship_kwargs={"lazy": "raise"})
