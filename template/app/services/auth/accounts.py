"""Sign-up, login, refresh and password reset."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from app.core.security.passwords import hash_password, verify_password
from app.core.security.tokens import Claims, InvalidTokenError, Tokens, TokenType
from app.core.settings import Settings
from app.core.settings.mail import MailSettings
from app.db.database import Database
from app.db.types import Timestamp, server_now
from app.models import LoginSession, Role, User
from app.schemas.auth import PasswordChange, TokenPair, UserCreate, UserRead
from app.services.auth import sessions
from app.services.auth.errors import (
    EmailTakenError,
    InvalidCredentialsError,
    InvalidLinkError,
    UserNotFoundError,
    WrongPasswordError,
)
from app.services.auth.mailer import Mailer
from app.services.auth.sessions import Caller, Client, Session

# The lifetimes of tokens from e-mails.
RESET_LIFETIME: Final = timedelta(minutes=30)
VERIFY_LIFETIME: Final = timedelta(hours=48)

_COLUMNS = [col(getattr(User, name)) for name in UserRead.model_fields]
_HAS_ID = col(User.id) == sa.bindparam("the_user_id")
_HAD_PASSWORD = col(User.hashed_password).is_not_distinct_from(sa.bindparam("old_hash"))
_IS_ACTIVE = col(User.is_active).is_(True)
_SECRETS: sa.Select[UUID, str, str | None, bool] = sa.select(
    col(User.id), col(User.email), col(User.hashed_password), col(User.is_active)
)
_BY_EMAIL = _SECRETS.where(col(User.email) == sa.bindparam("the_email"))
_BY_ID = _SECRETS.where(_HAS_ID)
_SIGN_UP = sa.insert(User).returning(*_COLUMNS)
# Each changes the row only if the password is still the one that was read, and locks the row.
_RENEW_HASH = (
    sa.update(User)
    .where(_HAS_ID, _HAD_PASSWORD, _IS_ACTIVE)
    .values(hashed_password=sa.bindparam("new_hash"), updated_at=col(User.updated_at))
    .returning(col(User.id))
)
_RESET = (
    sa.update(User)
    .where(_HAS_ID, _HAD_PASSWORD, _IS_ACTIVE)
    # A user who can read mail at the address has verified it.
    .values(hashed_password=sa.bindparam("new_hash"), is_verified=True)
    .returning(col(User.email))
)
_SET_PASSWORD = (
    sa.update(User)
    .where(_HAS_ID, _HAD_PASSWORD, _IS_ACTIVE)
    .values(hashed_password=sa.bindparam("new_hash"))
    .returning(col(User.email))
)
_OVERWRITE_PASSWORD = (
    sa.update(User)
    .where(col(User.email) == sa.bindparam("the_email"), _IS_ACTIVE)
    .values(hashed_password=sa.bindparam("new_hash"))
    .returning(col(User.id))
)
_VERIFY = (
    sa.update(User)
    .where(
        _HAS_ID,
        _IS_ACTIVE,
        col(User.is_verified).is_(False),
        col(User.email) == sa.bindparam("the_email"),
    )
    .values(is_verified=True)
    .returning(col(User.id))
)
_PURGE = sa.delete(User).where(
    col(User.is_verified).is_(False),
    col(User.role) == Role.USER,
    sa.or_(
        col(User.is_active).is_(False),
        sa.and_(
            col(User.created_at) < sa.bindparam("before", type_=Timestamp),
            ~sa.exists().where(
                col(LoginSession.user_id) == col(User.id),
                col(LoginSession.expires_at) > server_now(),
            ),
        ),
    ),
)
_UserRow = sa.Row[UUID, str, str | None, bool]
_log = structlog.get_logger("app.security")


class AccountService:
    """Operations that need no access token, or need the password.

    Passwords are hashed without an open connection, so that other requests need not wait for it.
    """

    def __init__(
        self, database: Database, settings: Settings, tokens: Tokens, mailer: Mailer
    ) -> None:
        self._database = database
        self._settings = settings
        self._tokens = tokens
        self._mailer = mailer

    @property
    def sends_mail(self) -> bool:
        """Whether a mail server is set."""
        return self._settings.sends_mail

    async def sign_up(self, data: UserCreate, role: Role = Role.USER) -> UserRead:
        """Make an account.

        Raises:
            EmailTakenError: there is one with this address.
        """
        values = {
            "id": uuid4(),
            "email": data.email,
            "full_name": data.full_name,
            "hashed_password": await hash_password(
                data.password.get_secret_value(), self._settings
            ),
            "role": role,
        }
        try:
            async with self._database.transaction() as connection:
                row = (await connection.execute(_SIGN_UP, values)).one()
        except IntegrityError:
            raise EmailTakenError from None
        _log.info("user_signed_up", user_id=str(row.id), role=role)
        return UserRead.model_validate(row)

    async def log_in(self, email: str, password: str, client: Client) -> TokenPair:
        """Begin a session, and end the oldest beyond `SESSIONS_PER_USER`.

        Raises:
            InvalidCredentialsError: no active account has this address and password. Neither the
            error nor the time taken shows which one is wrong.
        """
        user = await self._find(_BY_EMAIL, {"the_email": email})
        hashed = user.hashed_password if user else None
        is_right, kept = await verify_password(password, hashed, self._settings)
        session = None
        if user and is_right:
            session = await self._begin_session(user.id, hashed, kept, client)
        if session is None:
            _log.warning("login_failed", user_id=str(user.id) if user else None)
            raise InvalidCredentialsError
        _log.info("logged_in", user_id=str(session.user_id), session_id=str(session.id))
        return self.issue_tokens(session)

    async def _begin_session(
        self, user_id: UUID, hashed: str | None, kept: str | None, client: Client
    ) -> Session | None:
        values = {"the_user_id": user_id, "old_hash": hashed, "new_hash": kept}
        async with self._database.transaction() as connection:
            if await connection.scalar(_RENEW_HASH, values) is None:
                return None
            return await sessions.begin(connection, self._settings, user_id, client)

    def issue_tokens(self, session: Session) -> TokenPair:
        """Return tokens for a session; the refresh token expires with it."""
        lifetime = timedelta(minutes=self._settings.access_token_expire_minutes)
        sid = str(session.id)
        return TokenPair(
            access_token=self._tokens.issue(TokenType.ACCESS, session.user_id, lifetime, sid=sid),
            refresh_token=self._tokens.issue(
                TokenType.REFRESH,
                session.user_id,
                session.expires_at - datetime.now(UTC),
                token_id=session.refresh_token_id,
                sid=sid,
            ),
            expires_in=int(lifetime.total_seconds()),
        )

    async def refresh(self, claims: Claims, client: Client) -> TokenPair:
        """Return a new pair. The refresh token is used up, after `REFRESH_GRACE_SECONDS`.

        Raises:
            InvalidTokenError: it was used up already. One of its two users has stolen it, so the
                session ends (RFC 9700 section 4.14.2).
        """
        async with self._database.transaction() as connection:
            session = await sessions.renew(connection, self._settings, claims, client)
            is_replay = session is None and await sessions.end(
                connection, claims.session_id, claims.subject
            )
        if is_replay:
            _log.warning(
                "refresh_token_replayed",
                user_id=str(claims.subject),
                session_id=str(claims.session_id),
            )
        if session is None:
            raise InvalidTokenError
        return self.issue_tokens(session)

    async def send_verification(self, user: UserRead) -> None:
        """Send the token that verifies the address."""
        token = self._tokens.issue(
            TokenType.VERIFY, user.id, VERIFY_LIFETIME, fingerprint=_fingerprint(user.email)
        )
        hours = VERIFY_LIFETIME // timedelta(hours=1)
        await self._mailer.send(user.email, "verify_email", token=token, hours=hours)

    async def verify_email(self, claims: Claims) -> None:
        """Mark the address as verified.

        Raises:
            InvalidLinkError: the token was used, or is about another address.
        """
        user = await self._owner_of(claims)
        if claims.fingerprint != _fingerprint(user.email):
            raise InvalidLinkError
        values = {"the_user_id": user.id, "the_email": user.email}
        async with self._database.transaction() as connection:
            if await connection.scalar(_VERIFY, values) is None:
                raise InvalidLinkError
        _log.info("email_verified", user_id=str(user.id))

    async def send_reset(self, email: str) -> None:
        """Send the token that allows a new password, if an active account has this address.

        If there is none, the same message is rendered and discarded. Otherwise the time of the next
        request would show whether the account exists.
        """
        user = await self._find(_BY_EMAIL, {"the_email": email})
        token = self._tokens.issue(
            TokenType.RESET,
            user.id if user else uuid4(),
            RESET_LIFETIME,
            fingerprint=_fingerprint(email, user.hashed_password if user else None),
        )
        minutes = RESET_LIFETIME // timedelta(minutes=1)
        if user is None or not user.is_active:
            self._mailer.write(email, "reset_password", token=token, minutes=minutes)
            return
        await self._mailer.send(email, "reset_password", token=token, minutes=minutes)
        _log.info("password_reset_asked", user_id=str(user.id))

    async def reset_password(self, claims: Claims, password: str) -> str:
        """Set a new password, end all other access, and return the address to notify.

        Raises:
            InvalidLinkError: the account was changed since the token was sent.
        """
        user = await self._owner_of(claims)
        if claims.fingerprint != _fingerprint(user.email, user.hashed_password):
            raise InvalidLinkError
        values = {
            "the_user_id": user.id,
            "old_hash": user.hashed_password,
            "new_hash": await hash_password(password, self._settings),
        }
        async with self._database.transaction() as connection:
            email: str | None = await connection.scalar(_RESET, values)
            if email is None:
                raise InvalidLinkError
            await sessions.end_access(connection, user.id)
        _log.info("password_reset", user_id=str(user.id))
        return email

    async def change_password(self, caller: Caller, change: PasswordChange) -> str:
        """Set a new password, end the other sessions, and return the address to notify.

        Raises:
            WrongPasswordError: the current one is another.
            InvalidTokenError: the caller's session has ended meanwhile.
        """
        hashed = await self.check_password(caller, change.current_password.get_secret_value())
        values = {
            "the_user_id": caller.id,
            "old_hash": hashed,
            "new_hash": await hash_password(change.new_password.get_secret_value(), self._settings),
        }
        async with self._database.transaction() as connection:
            email: str | None = await connection.scalar(_SET_PASSWORD, values)
            if email is None:
                raise WrongPasswordError
            # The user's row is locked now, so that no login can end the session after this check.
            if not await sessions.is_active(connection, caller):
                raise InvalidTokenError
            await sessions.end_others(connection, caller)
        _log.info("password_changed", user_id=str(caller.id))
        return email

    async def set_password(self, email: str, password: str) -> None:
        """Set a password without asking for the current one, and end all other access.

        Raises:
            UserNotFoundError: no active account has the address.
        """
        hashed = await hash_password(password, self._settings)
        async with self._database.transaction() as connection:
            values = {"the_email": email, "new_hash": hashed}
            user_id: UUID | None = await connection.scalar(_OVERWRITE_PASSWORD, values)
            if user_id is None:
                raise UserNotFoundError(email)
            await sessions.end_access(connection, user_id)
        _log.info("password_set", user_id=str(user_id), by="operator")

    async def check_password(self, caller: Caller, password: str) -> str:
        """Return the hash of the caller's password.

        Raises:
            WrongPasswordError: it is another password, or there is none.
        """
        user = await self._find(_BY_ID, {"the_user_id": caller.id})
        hashed: str | None = user.hashed_password if user else None
        is_right, _ = await verify_password(password, hashed, self._settings)
        if hashed is None or not is_right:
            _log.warning("password_refused", user_id=str(caller.id))
            raise WrongPasswordError
        return hashed

    async def notify(self, email: str, event: str, **values: object) -> None:
        """Notify the owner of a change that somebody else may have made. `event` is a template."""
        await self._mailer.send(email, event, **values)

    def read_link(self, token: str, kind: TokenType) -> Claims:
        """Return the claims of a token from an e-mail.

        Raises:
            InvalidLinkError: it is not valid, or no longer.
        """
        try:
            return self._tokens.read(token, kind)
        except InvalidTokenError:
            raise InvalidLinkError from None

    async def _owner_of(self, claims: Claims) -> _UserRow:
        user = await self._find(_BY_ID, {"the_user_id": claims.subject})
        if user is None:
            raise InvalidLinkError
        return user

    async def _find(
        self, statement: sa.Select[UUID, str, str | None, bool], values: dict[str, object]
    ) -> _UserRow | None:
        async with self._database.reading() as connection:
            result = await connection.execute(statement, values)
            return result.one_or_none()


async def purge_unverified(connection: AsyncConnection, settings: MailSettings) -> int:
    """Delete accounts whose address nobody has verified, and return how many there were.

    They are closed, or older than `UNVERIFIED_ACCOUNT_DAYS` and without a session. Without a mail
    server nobody could verify an address, so none is deleted.
    """
    days = settings.unverified_account_days
    if not days or not settings.sends_mail:
        return 0
    values = {"before": datetime.now(UTC) - timedelta(days=days)}
    return (await connection.execute(_PURGE, values)).rowcount


def _fingerprint(*parts: str | None) -> str:
    """Return a digest of the values: it shows whether they have changed, but not the values."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()
