"""The identities at providers that users have linked to their accounts."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import selectinload
from sqlmodel import col

from app.db.database import orm_session
from app.models import Identity, User
from app.schemas.oidc import IdentityRead
from app.services.oidc.errors import IdentityNotFoundError, LastWayInError

_COLUMNS = [col(getattr(Identity, name)) for name in IdentityRead.model_fields]
_IS_OF_USER = col(Identity.user_id) == sa.bindparam("the_user_id")
_ALL = sa.select(*_COLUMNS).where(_IS_OF_USER).order_by(col(Identity.created_at), col(Identity.id))
_ENTITIES = sa.select(Identity).where(_IS_OF_USER).options(selectinload(Identity.user))  # type: ignore[arg-type]
# Changes nothing, but makes every other change of this user's identities wait.
_LOCK_USER: sa.Update = (
    sa.update(User)
    .where(col(User.id) == sa.bindparam("the_user_id"))
    .values(updated_at=col(User.updated_at))
)
_log = structlog.get_logger("app.security")


class IdentityService:
    """One user's identities, inside one request's connection."""

    def __init__(self, connection: AsyncConnection, user_id: UUID) -> None:
        self._connection = connection
        self._user: dict[str, Any] = {"the_user_id": user_id}

    async def all(self) -> list[IdentityRead]:
        """Return the identities, the first one linked first."""
        rows = await self._connection.execute(_ALL, self._user)
        return [IdentityRead.model_validate(row) for row in rows]

    async def unlink(self, identity_id: UUID) -> None:
        """Forget an identity: nobody logs in with it any more.

        Raises:
            IdentityNotFoundError: the user has none with this id.
            LastWayInError: the user has no other, and no password.
        """
        await self._connection.execute(_LOCK_USER, self._user)
        async with orm_session(self._connection) as session:
            identities = (await session.scalars(_ENTITIES, self._user)).all()
            identity = next((one for one in identities if one.id == identity_id), None)
            if identity is None:
                raise IdentityNotFoundError(identity_id)
            if len(identities) == 1 and identity.user.hashed_password is None:
                raise LastWayInError
            await session.delete(identity)
            _log.info(
                "identity_unlinked", provider=identity.provider, user_id=str(identity.user_id)
            )
