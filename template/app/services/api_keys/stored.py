"""Authentication with API keys, and their management."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased
from sqlmodel import col

from app.core.errors import ForbiddenError, NotFoundError, UnavailableError
from app.core.security.api_keys import digest_of, new_key, well_formed
from app.core.settings import Settings
from app.db.database import Database
from app.db.types import server_now
from app.models import ApiKey
from app.schemas.api_keys import ApiKeyCreate, ApiKeyCreated, ApiKeyPage, ApiKeyQuery, ApiKeyRead
from app.services.api_keys.errors import InvalidApiKeyError

# The last use is recorded at most once in this time, so that most reads need no write.
_USE_INTERVAL: Final = timedelta(minutes=1)
_NO_DIGEST: Final = "0" * 64

_COLUMNS = [col(getattr(ApiKey, name)) for name in ApiKeyRead.model_fields]
_FIND = sa.select(
    col(ApiKey.id),
    col(ApiKey.digest),
    col(ApiKey.scopes),
    col(ApiKey.is_active),
    col(ApiKey.expires_at),
    col(ApiKey.last_used_at),
).where(col(ApiKey.prefix) == sa.bindparam("prefix"))
_CREATE = sa.insert(ApiKey).returning(*_COLUMNS)
_COUNT = sa.select(sa.func.count()).select_from(ApiKey)
_PAGE = (
    sa.select(*_COLUMNS)
    .order_by(col(ApiKey.created_at).desc(), col(ApiKey.id).desc())
    .limit(sa.bindparam("limit"))
    .offset(sa.bindparam("skip"))
)
_REVOKE = sa.update(ApiKey).where(col(ApiKey.is_active).is_(True)).values(is_active=False)
_REVOKE_ID = _REVOKE.where(col(ApiKey.id) == sa.bindparam("key_id")).returning(col(ApiKey.id))
_REVOKE_PREFIX = _REVOKE.where(col(ApiKey.prefix) == sa.bindparam("key_prefix")).returning(
    col(ApiKey.id)
)
_made = aliased(ApiKey)
_DESCENDANTS = (
    sa.select(col(_made.id))
    .where(col(_made.created_by) == sa.bindparam("key_id"))
    .cte(recursive=True)
)
_DESCENDANTS = _DESCENDANTS.union(
    sa.select(col(_made.id)).join(_DESCENDANTS, col(_made.created_by) == _DESCENDANTS.c.id)
)
_REVOKE_DESCENDANTS = _REVOKE.where(col(ApiKey.id).in_(sa.select(_DESCENDANTS.c.id))).returning(
    col(ApiKey.id)
)
# Changes nothing, but a parallel revocation waits until the new key can be seen.
_LOCK_MAKER = (
    sa.update(ApiKey)
    .where(col(ApiKey.id) == sa.bindparam("key_id"), col(ApiKey.is_active).is_(True))
    .values(updated_at=col(ApiKey.updated_at))
    .returning(col(ApiKey.id))
)
_NOTE_USE = (
    sa.update(ApiKey)
    .where(
        col(ApiKey.id) == sa.bindparam("key_id"),
        # Of several requests at once, one writes.
        sa.or_(
            col(ApiKey.last_used_at).is_(None), col(ApiKey.last_used_at) < sa.bindparam("before")
        ),
    )
    .values(last_used_at=server_now(), updated_at=col(ApiKey.updated_at))
)

_log = structlog.get_logger(__name__)


class ApiKeyNotFoundError(NotFoundError):
    """No key has this id or prefix, or it is revoked already."""

    code = "api_key_not_found"

    def __init__(self, key: UUID | str) -> None:
        super().__init__(f"There is no API key {key}.")


class BroaderKeyError(ForbiddenError):
    """A key may not make one that may do more, or lasts longer, than itself."""

    code = "broader_key"

    def __init__(self) -> None:
        super().__init__("An API key cannot make one that may do more, or lasts longer, than it.")


def prefix_of(key: str) -> str:
    """Return the part that names the key, which is no secret."""
    return key.partition("_")[0]


@dataclass(frozen=True)
class Caller:
    """The key of the current request."""

    id: UUID
    scopes: frozenset[str]
    expires_at: datetime | None
    last_used_at: datetime | None

    @property
    def use_is_due(self) -> bool:
        """Whether its last use has to be recorded again."""
        return self.last_used_at is None or self.last_used_at < datetime.now(UTC) - _USE_INTERVAL


class ApiKeyService:
    """The API keys, inside one request's connection."""

    def __init__(self, connection: AsyncConnection, settings: Settings) -> None:
        self._connection = connection
        self._pepper = settings.api_key_pepper.get_secret_value()

    async def authenticate(self, presented: list[str]) -> Caller:
        """Return the key that was presented.

        Every invalid key takes the same work and raises the same error.

        Raises:
            InvalidApiKeyError: it is unknown, expired or revoked, or it is not one key.
        """
        key = well_formed(presented)
        digest = digest_of(key, self._pepper)
        row = (await self._connection.execute(_FIND, {"prefix": prefix_of(key)})).one_or_none()
        is_known = hmac.compare_digest(row.digest if row else _NO_DIGEST, digest)
        if row is None or not is_known or not row.is_active:
            raise InvalidApiKeyError
        if row.expires_at is not None and row.expires_at <= datetime.now(UTC):
            raise InvalidApiKeyError
        return Caller(row.id, frozenset(row.scopes), row.expires_at, row.last_used_at)

    async def create(self, data: ApiKeyCreate, maker: Caller | None = None) -> ApiKeyCreated:
        """Make a key. Without a maker, it is the operator's, and has no bounds.

        Raises:
            BroaderKeyError: the new key would have more scopes than its maker, or last longer.
            InvalidApiKeyError: the maker has just been revoked.
        """
        expires_at = maker.expires_at if maker else None
        if data.expires_in_days is not None:
            expires_at = datetime.now(UTC) + timedelta(days=data.expires_in_days)
        if maker is not None:
            _refuse_broader(data.scopes, expires_at, maker)
            if await self._connection.scalar(_LOCK_MAKER, {"key_id": maker.id}) is None:
                raise InvalidApiKeyError
        key = new_key()
        values = {
            "id": uuid4(),
            "name": data.name,
            "prefix": prefix_of(key),
            "digest": digest_of(key, self._pepper),
            "scopes": sorted(set(data.scopes)),
            "created_by": maker.id if maker else None,
            "expires_at": expires_at,
        }
        row = (await self._connection.execute(_CREATE, values)).one()
        if maker is not None:
            _log.info("api_key_created", prefix=row.prefix, by=str(maker.id))
        return ApiKeyCreated(**ApiKeyRead.model_validate(row).model_dump(), key=key)

    async def page(self, query: ApiKeyQuery) -> ApiKeyPage:
        """Return some of the keys, and how many there are."""
        rows = (await self._connection.execute(_PAGE, query.model_dump())).all()
        total = await self._connection.scalar(_COUNT) or 0
        return ApiKeyPage(
            items=[ApiKeyRead.model_validate(row) for row in rows],
            total=total,
            skip=query.skip,
            limit=query.limit,
            has_more=query.skip + len(rows) < total,
        )

    async def revoke(self, key: UUID | str, by: Caller | None = None) -> None:
        """Refuse the key with this id, or prefix, and all keys that descend from it, from now on.

        Raises:
            ApiKeyNotFoundError: there is none, or it is revoked already.
        """
        if isinstance(key, UUID):
            key_id = await self._connection.scalar(_REVOKE_ID, {"key_id": key})
        else:
            key_id = await self._connection.scalar(_REVOKE_PREFIX, {"key_prefix": key})
        if key_id is None:
            raise ApiKeyNotFoundError(key)
        # Until none is left: a descendant may have made another key meanwhile.
        while await self._connection.scalar(_REVOKE_DESCENDANTS, {"key_id": key_id}) is not None:
            pass
        if by is not None:
            _log.info("api_key_revoked", id=str(key), by=str(by.id))


def _refuse_broader(scopes: Sequence[str], expires_at: datetime | None, maker: Caller) -> None:
    lasts_longer = maker.expires_at is not None and (
        expires_at is None or expires_at > maker.expires_at
    )
    if lasts_longer or not maker.scopes.issuperset(scopes):
        raise BroaderKeyError


async def note_use(database: Database, caller: Caller) -> None:
    """Record that the key was used. A failure is logged, and the request goes on."""
    values = {"key_id": caller.id, "before": datetime.now(UTC) - _USE_INTERVAL}
    try:
        async with database.transaction() as connection:
            await connection.execute(_NOTE_USE, values)
    except (UnavailableError, SQLAlchemyError, OSError) as error:
        _log.warning("api_key_use_not_recorded", cause=type(error).__name__)
