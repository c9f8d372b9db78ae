"""Sessions: begun by a login, checked on every request, renewed by refresh tokens."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from app.core.security.tokens import Claims, InvalidTokenError
from app.core.settings import Settings
from app.db.query import fetch_one
from app.db.types import Timestamp, server_now
from app.models import LoginSession, Role, User
from app.models.auth import AccountAccess
from app.schemas.auth import SessionRead
from app.services.auth.errors import SessionNotFoundError

# The time for which a login is recent: sensitive changes then do not need the password.
RECENT: Final = timedelta(minutes=10)
# The longest list of sessions, the last used first.
MAX_LISTED: Final = 100
# Bytes of a refresh token's id that carry the generation; the others are random.
_GENERATION_BYTES: Final = 6

# Statements are built once: building one takes as long as running it. Parameters are named as the
# claims of a token, since SQLAlchemy keeps the names of columns for the values of an UPDATE.
_SID = col(LoginSession.id) == sa.bindparam("sid")
_SUB = col(LoginSession.user_id) == sa.bindparam("sub")
_IS_UNEXPIRED = col(LoginSession.expires_at) > server_now()
_IS_USER_ACTIVE = col(User.is_active).is_(True)
_CALLER: sa.Select[UUID, str, bool, UUID, datetime] = (
    sa.select(
        col(User.id),
        col(User.role),
        col(User.is_verified),
        col(LoginSession.id).label("session_id"),
        col(LoginSession.created_at).label("logged_in_at"),
    )
    .join(User, col(LoginSession.user_id) == col(User.id))
    .where(_SID, _SUB, _IS_UNEXPIRED, _IS_USER_ACTIVE)
)
_IS_ACTIVE = sa.select(col(LoginSession.id)).where(_SID, _SUB, _IS_UNEXPIRED)
_LIST = (
    sa.select(
        col(LoginSession.id),
        col(LoginSession.created_at),
        col(LoginSession.last_used_at),
        col(LoginSession.expires_at),
        col(LoginSession.user_agent),
        col(LoginSession.address),
        _SID.label("is_current"),
    )
    .where(_SUB, _IS_UNEXPIRED)
    .order_by(col(LoginSession.last_used_at).desc(), col(LoginSession.id))
    .limit(MAX_LISTED)
)
_LOCK_USER = (
    sa.update(User)
    .where(col(User.id) == sa.bindparam("sub"), _IS_USER_ACTIVE)
    .values(updated_at=col(User.updated_at))
    .returning(col(User.id))
)
_BEGIN = sa.insert(LoginSession)
_USED = sa.bindparam("used", type_=sa.BigInteger())
_IS_NEWEST = col(LoginSession.generation) == _USED
_IS_IN_GRACE = sa.and_(
    col(LoginSession.generation) == _USED + 1,
    col(LoginSession.rotated_at) > sa.bindparam("grace_began", type_=Timestamp),
)
_RENEW = (
    sa.update(LoginSession)
    .where(
        _SID,
        _SUB,
        _IS_UNEXPIRED,
        sa.or_(_IS_NEWEST, _IS_IN_GRACE),
        col(LoginSession.user_id).in_(sa.select(col(User.id)).where(_IS_USER_ACTIVE)),
    )
    .values(
        generation=_USED + 1,
        rotated_at=sa.case(
            (_IS_NEWEST, sa.bindparam("now", type_=Timestamp)),
            else_=col(LoginSession.rotated_at),
        ),
        last_used_at=server_now(),
        address=sa.bindparam("client_address"),
        user_agent=sa.bindparam("client_user_agent"),
    )
    .returning(col(LoginSession.expires_at))
)
_END = sa.delete(LoginSession).where(_SID, _SUB, _IS_UNEXPIRED).returning(col(LoginSession.id))
_END_ALL = sa.delete(LoginSession).where(_SUB)
_END_ACCESS = [
    sa.delete(kind).where(col(kind.user_id) == sa.bindparam("sub"))
    for kind in AccountAccess.__subclasses__()
]
_END_OTHERS = _END_ALL.where(col(LoginSession.id) != sa.bindparam("sid"))
_END_OLDEST = _END_ALL.where(
    col(LoginSession.id).not_in(
        sa.select(col(LoginSession.id))
        .where(_SUB)
        .order_by(col(LoginSession.created_at).desc(), col(LoginSession.id).desc())
        .limit(sa.bindparam("kept"))
    )
)
_PURGE = sa.delete(LoginSession).where(col(LoginSession.expires_at) <= server_now())

_log = structlog.get_logger("app.security")


@dataclass(frozen=True, slots=True)
class Caller:
    """The user of a request, and the session of the access token."""

    id: UUID
    role: str
    is_verified: bool
    session_id: UUID
    logged_in_at: datetime

    @property
    def is_admin(self) -> bool:
        """Whether the caller may read and change what belongs to others."""
        return self.role == Role.ADMIN

    @property
    def has_just_logged_in(self) -> bool:
        """Whether the login is recent enough for sensitive changes. A refresh is not a login."""
        return datetime.now(UTC) - self.logged_in_at < RECENT


@dataclass(frozen=True, slots=True)
class Client:
    """The network address and the program that a session is used from."""

    address: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A session, and the id of its newest refresh token."""

    id: UUID
    user_id: UUID
    refresh_token_id: UUID
    expires_at: datetime


async def get_caller(connection: AsyncConnection, claims: Claims) -> Caller:
    """Return the user of an access token, in one round trip.

    Raises:
        InvalidTokenError: the session has ended, or the account is not active.
    """
    row = await fetch_one(connection, _CALLER, sid=claims.session_id, sub=claims.subject)
    if row is None:
        _log.info("token_refused", kind="access", cause="session ended")
        raise InvalidTokenError
    return Caller(**row)


async def is_active(connection: AsyncConnection, caller: Caller) -> bool:
    """Return whether the caller's session has not ended."""
    return await connection.scalar(_IS_ACTIVE, _ids_of(caller)) is not None


async def list_active(connection: AsyncConnection, caller: Caller) -> list[SessionRead]:
    """Return the caller's sessions, the last used first, `MAX_LISTED` at most."""
    rows = await connection.execute(_LIST, _ids_of(caller))
    return [SessionRead.model_validate(row) for row in rows]


async def begin(
    connection: AsyncConnection, settings: Settings, user_id: UUID, client: Client
) -> Session | None:
    """Begin a session, and end the oldest beyond `SESSIONS_PER_USER`.

    Returns None when the account is not active.
    """
    # The row stays locked until the commit, so that parallel logins count each other's sessions.
    # (SQLite has one lock, which the first write takes.)
    if await connection.scalar(_LOCK_USER, {"sub": user_id}) is None:
        return None
    if settings.sessions_per_user:
        kept = settings.sessions_per_user - 1
        await connection.execute(_END_OLDEST, {"sub": user_id, "kept": kept})
    lifetime = timedelta(days=settings.refresh_token_expire_days)
    session = Session(uuid4(), user_id, _refresh_token_id(0), datetime.now(UTC) + lifetime)
    await connection.execute(
        _BEGIN,
        {
            "id": session.id,
            "user_id": user_id,
            "address": client.address,
            "user_agent": client.user_agent,
            "expires_at": session.expires_at,
        },
    )
    return session


async def renew(
    connection: AsyncConnection, settings: Settings, claims: Claims, client: Client
) -> Session | None:
    """Exchange a refresh token for one of the next generation; None when it is not valid.

    A used token stays valid for `REFRESH_GRACE_SECONDS` after its first use. Whichever token of a
    generation is used, the next generation is the same. So theft within the grace does not stay
    unnoticed: the owner or the thief is the second to leave the generation, which is a replay.

    One statement, so that of parallel requests, in any process, one moves the session on.
    """
    used = int.from_bytes(claims.token_id.bytes[:_GENERATION_BYTES])
    now = datetime.now(UTC)
    values = {
        "sid": claims.session_id,
        "sub": claims.subject,
        "used": used,
        "now": now,
        # A comparison with NULL is never true, even if the clocks of other processes differ.
        "grace_began": now - timedelta(seconds=settings.refresh_grace_seconds)
        if settings.refresh_grace_seconds
        else None,
        "client_address": client.address,
        "client_user_agent": client.user_agent,
    }
    expires_at = await connection.scalar(_RENEW, values)
    if expires_at is None:
        return None
    return Session(claims.session_id, claims.subject, _refresh_token_id(used + 1), expires_at)


async def end(connection: AsyncConnection, session_id: UUID, user_id: UUID) -> bool:
    """End a session, and return whether it was active."""
    return await connection.scalar(_END, {"sid": session_id, "sub": user_id}) is not None


async def end_one(connection: AsyncConnection, session_id: UUID, caller: Caller) -> None:
    """End one of the caller's sessions.

    Raises:
        SessionNotFoundError: the caller has none with this id.
    """
    if not await end(connection, session_id, caller.id):
        raise SessionNotFoundError(session_id)


async def end_all(connection: AsyncConnection, user_id: UUID) -> None:
    """End all sessions of a user."""
    await connection.execute(_END_ALL, {"sub": user_id})


async def end_access(connection: AsyncConnection, user_id: UUID) -> None:
    """End all sessions of a user, and delete all other access that needs no password."""
    for statement in _END_ACCESS:
        await connection.execute(statement, {"sub": user_id})


async def end_others(connection: AsyncConnection, caller: Caller) -> None:
    """End all sessions of the caller except that of this request."""
    await connection.execute(_END_OTHERS, _ids_of(caller))


async def purge(connection: AsyncConnection) -> int:
    """Delete expired sessions, and return how many there were."""
    return (await connection.execute(_PURGE)).rowcount


def _ids_of(caller: Caller) -> dict[str, Any]:
    return {"sid": caller.session_id, "sub": caller.id}


def _refresh_token_id(generation: int) -> UUID:
    return UUID(bytes=generation.to_bytes(_GENERATION_BYTES) + uuid4().bytes[_GENERATION_BYTES:])
