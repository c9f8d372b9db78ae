"""Sessions: begun by a login, checked on every request, renewed by refresh tokens."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from app.core.security.tokens import Claims, InvalidTokenError
from app.db.types import server_now
from app.models import LoginSession, Role, User

# Statements are built once: building one takes as long as running it.
_IS_ACTIVE = col(User.is_active).is_(True)
_IS_OF_USER = col(LoginSession.user_id) == sa.bindparam("the_user_id")
_IS_OF_TOKEN = sa.and_(
    col(LoginSession.id) == sa.bindparam("the_session_id"),
    _IS_OF_USER,
    col(LoginSession.expires_at) > server_now(),
)
_CALLER: sa.Select[UUID, str, UUID] = (
    sa.select(col(User.id), col(User.role), col(LoginSession.id).label("session_id"))
    .join(User, col(LoginSession.user_id) == col(User.id))
    .where(_IS_OF_TOKEN, _IS_ACTIVE)
)
_LOCK_USER = (
    sa.update(User)
    .where(col(User.id) == sa.bindparam("the_user_id"), _IS_ACTIVE)
    .values(updated_at=col(User.updated_at))
    .returning(col(User.id))
)
_BEGIN = sa.insert(LoginSession)
_RENEW = (
    sa.update(LoginSession)
    .where(
        _IS_OF_TOKEN,
        col(LoginSession.refresh_digest) == sa.bindparam("used_digest"),
        col(LoginSession.user_id).in_(sa.select(col(User.id)).where(_IS_ACTIVE)),
    )
    .values(refresh_digest=sa.bindparam("next_digest"))
    .returning(col(LoginSession.expires_at))
)
_LASTS = sa.select(col(LoginSession.id)).where(_IS_OF_TOKEN)
_END = sa.delete(LoginSession).where(_IS_OF_TOKEN).returning(col(LoginSession.id))
_END_ALL = sa.delete(LoginSession).where(_IS_OF_USER)
_END_OTHERS = _END_ALL.where(col(LoginSession.id) != sa.bindparam("the_session_id"))
_PURGE = sa.delete(LoginSession).where(col(LoginSession.expires_at) <= server_now())


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request."""

    id: UUID
    role: str
    session_id: UUID

    @property
    def is_admin(self) -> bool:
        """Whether the caller may see to everybody's things."""
        return self.role == Role.ADMIN


@dataclass(frozen=True, slots=True)
class Session:
    """A session, and the one refresh token that is valid in it."""

    id: UUID
    user_id: UUID
    refresh_token_id: UUID
    expires_at: datetime


async def caller_of(connection: AsyncConnection, claims: Claims) -> Caller:
    """Return whom an access token speaks for, in one round trip.

    Raises:
        InvalidTokenError: the session has ended, or the account is not active.
    """
    row = (await connection.execute(_CALLER, _of_token(claims))).one_or_none()
    if row is None:
        raise InvalidTokenError
    return Caller(row.id, row.role, row.session_id)


async def lasts(connection: AsyncConnection, caller: Caller) -> bool:
    """Tell whether the caller's session has not ended."""
    values = {"the_session_id": caller.session_id, "the_user_id": caller.id}
    return await connection.scalar(_LASTS, values) is not None


async def begin(connection: AsyncConnection, user_id: UUID, lifetime: timedelta) -> Session | None:
    """Begin a session and end all others of the user; nothing when the account is not active."""
    # The row stays locked until the commit: of several logins at once, the last one leaves its
    # session. (SQLite has one lock, which the first write takes.)
    if await connection.scalar(_LOCK_USER, {"the_user_id": user_id}) is None:
        return None
    await end_all(connection, user_id)
    session = Session(uuid4(), user_id, uuid4(), datetime.now(UTC) + lifetime)
    await connection.execute(
        _BEGIN,
        {
            "id": session.id,
            "user_id": user_id,
            "refresh_digest": _digest(session.refresh_token_id),
            "expires_at": session.expires_at,
        },
    )
    return session


async def renew(connection: AsyncConnection, claims: Claims) -> Session | None:
    """Exchange a refresh token for the next one; nothing when it is not the valid one.

    In one statement: of several requests with the same token, in whichever processes, one gets the
    next token, and a crash leaves either the old one or the new one.
    """
    next_id = uuid4()
    values = {"used_digest": _digest(claims.token_id), "next_digest": _digest(next_id)}
    expires_at = await connection.scalar(_RENEW, _of_token(claims) | values)
    if expires_at is None:
        return None
    return Session(claims.session_id, claims.subject, next_id, expires_at)


async def end(connection: AsyncConnection, session_id: UUID, user_id: UUID) -> bool:
    """End a session, and tell whether it had not ended before."""
    values = {"the_session_id": session_id, "the_user_id": user_id}
    return await connection.scalar(_END, values) is not None


async def end_all(connection: AsyncConnection, user_id: UUID) -> None:
    """End all sessions of a user."""
    await connection.execute(_END_ALL, {"the_user_id": user_id})


async def end_others(connection: AsyncConnection, caller: Caller) -> None:
    """End all sessions of the caller but the one of this request."""
    values = {"the_user_id": caller.id, "the_session_id": caller.session_id}
    await connection.execute(_END_OTHERS, values)


async def purge(connection: AsyncConnection) -> int:
    """Delete the sessions that have expired, and return how many there were."""
    return (await connection.execute(_PURGE)).rowcount


def _of_token(claims: Claims) -> dict[str, object]:
    return {"the_session_id": claims.session_id, "the_user_id": claims.subject}


def _digest(token_id: UUID) -> str:
    return hashlib.sha256(token_id.bytes).hexdigest()
