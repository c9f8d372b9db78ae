"""Identities at providers: the users they log in as, linking, unlinking."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import selectinload
from sqlmodel import col

from app.db.database import Database, orm_session
from app.db.types import server_now
from app.models import Identity, LoginSession, User
from app.schemas.auth import normalized_email
from app.schemas.oidc import IdentityRead
from app.services.auth import sessions
from app.services.auth.errors import EmailNotVerifiedError
from app.services.oidc.errors import (
    IdentityNotFoundError,
    IdentityTakenError,
    LastWayInError,
    LoginFailedError,
)
from app.services.oidc.provider import Proof

_MAX_NAME: Final = 255

_COLUMNS = [col(getattr(Identity, name)) for name in IdentityRead.model_fields]
_IS_OF_USER = col(Identity.user_id) == sa.bindparam("sub")
_ALL = sa.select(*_COLUMNS).where(_IS_OF_USER).order_by(col(Identity.created_at), col(Identity.id))
_ENTITIES = sa.select(Identity).where(_IS_OF_USER).options(selectinload(Identity.user))  # type: ignore[arg-type]
_OWNER = sa.select(col(Identity.user_id)).where(
    col(Identity.provider) == sa.bindparam("at"), col(Identity.subject) == sa.bindparam("named")
)
_LINK = sa.insert(Identity)
_LINKER = (
    sa.select(col(User.id), col(User.email), col(User.is_verified))
    .join(LoginSession, col(LoginSession.user_id) == col(User.id))
    .where(
        col(LoginSession.id) == sa.bindparam("sid"),
        col(LoginSession.expires_at) > server_now(),
        col(User.is_active).is_(True),
    )
)
_IS_USER = col(User.id) == sa.bindparam("sub")
# Changes nothing, but other changes of this user have to wait until the commit.
_LOCK = sa.update(User).values(updated_at=col(User.updated_at))
_LOCK_BY_ID = _LOCK.where(_IS_USER)
_LOCK_BY_EMAIL = _LOCK.where(col(User.email) == sa.bindparam("address")).returning(
    col(User.id), col(User.hashed_password), col(User.is_verified), col(User.is_active)
)
_CLAIM = sa.update(User).where(_IS_USER).values(hashed_password=None, is_verified=True)
_DELETE = sa.delete(User).where(_IS_USER)
_SIGN_UP = sa.insert(User)

_log = structlog.get_logger("app.security")


@dataclass(frozen=True, slots=True)
class IdentityUser:
    """The user that an identity logs in as."""

    id: UUID
    # The owner's address, if the identity has just been linked to an account that existed.
    notify: str | None = None
    has_lost_password: bool = False


async def find_user(
    database: Database, provider: str, proof: Proof, session_id: UUID | None
) -> IdentityUser:
    """Return the user of an identity, linked now if it was not.

    The identity is linked to the user of the session; without one, to the user with the address
    that the provider has verified, or to a new user.

    Raises:
        LoginFailedError: the session has ended, or the account with the address is closed.
        EmailNotVerifiedError: the provider has verified no address, or the user of the session has
            not.
        IdentityTakenError: the identity is another user's.
    """
    try:
        return await _find_or_link(database, provider, proof, session_id)
    except IntegrityError:
        # A parallel request has just added the same user or identity, so the second try finds it.
        return await _find_or_link(database, provider, proof, session_id)


async def _find_or_link(
    database: Database, provider: str, proof: Proof, session_id: UUID | None
) -> IdentityUser:
    async with database.transaction() as connection:
        owner: UUID | None = await connection.scalar(
            _OWNER, {"at": provider, "named": proof.subject}
        )
        if session_id is not None:
            user = await find_linker(connection, session_id)
        elif owner is None:
            user = await _find_by_email(connection, proof)
        if owner is not None:
            if session_id is not None and owner != user.id:
                raise IdentityTakenError
            return IdentityUser(owner)
        columns = {"user_id": user.id, "provider": provider, "subject": proof.subject}
        await connection.execute(_LINK, {"id": uuid4(), **columns})
    _log.info("identity_linked", provider=provider, user_id=str(user.id))
    return user


async def find_linker(connection: AsyncConnection, session_id: UUID) -> IdentityUser:
    """Return the user of the session.

    Raises:
        LoginFailedError: the session has ended.
        EmailNotVerifiedError: the address may be somebody else's, who could take the account over
            by a reset of the password.
    """
    user = (await connection.execute(_LINKER, {"sid": session_id})).one_or_none()
    if user is None:
        raise LoginFailedError
    if not user.is_verified:
        raise EmailNotVerifiedError
    return IdentityUser(user.id, notify=user.email)


async def _find_by_email(connection: AsyncConnection, proof: Proof) -> IdentityUser:
    """Return the user with the address that the provider has verified, or a new one.

    Raises:
        EmailNotVerifiedError: it has verified none.
        LoginFailedError: the account is closed.
    """
    try:
        email = normalized_email(proof.verified_email or "")
    except ValueError:
        raise EmailNotVerifiedError from None
    user = (await connection.execute(_LOCK_BY_EMAIL, {"address": email})).one_or_none()
    if user is not None and not user.is_active:
        if user.is_verified:
            raise LoginFailedError
        # The account was somebody else's or never used. It must not block the owner of the address.
        await connection.execute(_DELETE, {"sub": user.id})
        user = None
    if user is None:
        user_id = uuid4()
        name = proof.name[:_MAX_NAME] if proof.name else None
        await connection.execute(
            _SIGN_UP, {"id": user_id, "email": email, "full_name": name, "is_verified": True}
        )
        _log.info("user_signed_up", user_id=str(user_id))
        return IdentityUser(user_id)
    has_password = user.hashed_password is not None
    if has_password or not user.is_verified:
        # Somebody else may have signed up with the address, and know the password.
        await connection.execute(_CLAIM, {"sub": user.id})
        await sessions.end_access(connection, user.id)
    return IdentityUser(user.id, notify=email, has_lost_password=has_password)


class IdentityService:
    """The identities of users, inside one request's connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def list_all(self, user_id: UUID) -> list[IdentityRead]:
        """Return the user's identities, the first one linked first."""
        rows = await self._connection.execute(_ALL, {"sub": user_id})
        return [IdentityRead.model_validate(row) for row in rows]

    async def unlink(self, user_id: UUID, identity_id: UUID) -> tuple[str, str]:
        """Delete an identity, and return the user's address and the provider.

        Raises:
            IdentityNotFoundError: the user has none with this id.
            LastWayInError: the user has no other, and no password.
        """
        await self._connection.execute(_LOCK_BY_ID, {"sub": user_id})
        async with orm_session(self._connection) as session:
            identities = (await session.scalars(_ENTITIES, {"sub": user_id})).all()
            identity = next((one for one in identities if one.id == identity_id), None)
            if identity is None:
                raise IdentityNotFoundError(identity_id)
            if len(identities) == 1 and identity.user.hashed_password is None:
                raise LastWayInError
            await session.delete(identity)
            _log.info("identity_unlinked", provider=identity.provider, user_id=str(user_id))
            return identity.user.email, identity.provider
