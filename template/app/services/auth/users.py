"""Reading and changing users, by themselves and by administrators."""

from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from app.models import Role, User
from app.schemas.auth import UserPage, UserQuery, UserRead
from app.services.auth import sessions
from app.services.auth.errors import (
    EmailTakenError,
    LastAdminError,
    ReauthenticationRequiredError,
    UserNotFoundError,
)
from app.services.auth.sessions import Caller

# With these fields, a thief of an access token could gain permanent access.
_SENSITIVE: Final = {"email", "role"}

_COLUMNS = [col(getattr(User, name)) for name in UserRead.model_fields]
_HAS_ID = col(User.id) == sa.bindparam("the_user_id")
_IS_ADMIN = sa.and_(col(User.role) == Role.ADMIN, col(User.is_active).is_(True))
_ONE = sa.select(*_COLUMNS).where(_HAS_ID)
_BY_EMAIL = sa.select(col(User.id)).where(col(User.email) == sa.bindparam("address"))
_COUNT = sa.select(sa.func.count()).select_from(User)
_PAGE = (
    sa.select(*_COLUMNS)
    .order_by(col(User.created_at).desc(), col(User.id).desc())
    .limit(sa.bindparam("limit"))
    .offset(sa.bindparam("skip"))
)
# Changes nothing, but locks the rows, so that other changes of administrators wait.
_LOCK_ADMINS = (
    sa.update(User).where(_IS_ADMIN).values(updated_at=col(User.updated_at)).returning(col(User.id))
)
_log = structlog.get_logger("app.security")


class UserService:
    """The users, inside one request's connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def page(self, query: UserQuery) -> UserPage:
        """Return some of the users, the newest first, and how many there are in all."""
        rows = (await self._connection.execute(_PAGE, query.model_dump())).all()
        total = await self._connection.scalar(_COUNT) or 0
        return UserPage(
            items=[UserRead.model_validate(row) for row in rows],
            total=total,
            skip=query.skip,
            limit=query.limit,
            has_more=query.skip + len(rows) < total,
        )

    async def get(self, user_id: UUID) -> UserRead:
        """Return the user, active or not.

        Raises:
            UserNotFoundError: there is none with this id.
        """
        row = (await self._connection.execute(_ONE, {"the_user_id": user_id})).one_or_none()
        if row is None:
            raise UserNotFoundError(user_id)
        return UserRead.model_validate(row)

    async def find_id(self, email: str) -> UUID:
        """Return the id of the user with the address.

        Raises:
            UserNotFoundError: there is none.
        """
        user_id: UUID | None = await self._connection.scalar(_BY_EMAIL, {"address": email.lower()})
        if user_id is None:
            raise UserNotFoundError(email)
        return user_id

    async def update(
        self, user_id: UUID, changes: dict[str, Any], caller: Caller | None = None
    ) -> UserRead:
        """Set the fields given; leave the rest. A user who is no longer active is logged out.

        Without a caller, the change is the operator's.

        Raises:
            ReauthenticationRequiredError: the address or the role would change, and the caller has
                not just logged in.
            UserNotFoundError: there is none with this id.
            EmailTakenError: another account has the address.
            LastAdminError: there would be no active administrator.
        """
        is_sensitive = not _SENSITIVE.isdisjoint(changes)
        if is_sensitive and caller is not None and not caller.has_just_logged_in:
            raise ReauthenticationRequiredError
        demotes = changes.get("role", Role.ADMIN) != Role.ADMIN
        deactivates = changes.get("is_active") is False
        if demotes or deactivates:
            await self._keep_an_admin_besides(user_id)
        if not changes:
            return await self.get(user_id)
        if "email" in changes and "is_verified" not in changes:
            is_same = col(User.email) == changes["email"]
            changes = {**changes, "is_verified": col(User.is_verified).is_(True) & is_same}
        statement = sa.update(User).where(_HAS_ID).values(changes).returning(*_COLUMNS)
        try:
            result = await self._connection.execute(statement, {"the_user_id": user_id})
        except IntegrityError:
            raise EmailTakenError from None
        row = result.one_or_none()
        if row is None:
            raise UserNotFoundError(user_id)
        if deactivates:
            await sessions.end_all(self._connection, user_id)
        by = str(caller.id) if caller else "operator"
        _log.info("user_changed", user_id=str(user_id), by=by, fields=sorted(changes))
        return UserRead.model_validate(row)

    async def deactivate(self, user_id: UUID, caller: Caller) -> UserRead:
        """Close the account and end its sessions; the row stays, inactive.

        Raises:
            UserNotFoundError: there is none with this id.
            LastAdminError: there would be no active administrator.
        """
        return await self.update(user_id, {"is_active": False}, caller)

    async def _keep_an_admin_besides(self, user_id: UUID) -> None:
        admins = (await self._connection.scalars(_LOCK_ADMINS)).all()
        if list(admins) == [user_id]:
            raise LastAdminError
