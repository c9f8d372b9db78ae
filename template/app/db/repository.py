"""List, read, create, update and delete rows of any table."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Any, Final, Generic, Protocol, TypeVar, cast
from uuid import UUID, uuid4

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import SQLModel

from app.core.errors import ConflictError, NotFoundError
from app.db.errors import is_unique_violation
from app.db.query import Row, fetch_all, fetch_one

TableT = TypeVar("TableT", bound=SQLModel)
ReadT = TypeVar("ReadT", bound=BaseModel)

_Names = frozenset[str]
_Condition = sa.ColumnElement[bool]

_COMPARISONS: Final = {"after": operator.gt, "before": operator.lt}
# Size of the statement cache: combinations of order and filters, for all tables.
_KEPT: Final = 1000


class ListRequest(Protocol):
    """Which rows to list. `app/schemas/pages.py` reads it from a request."""

    skip: int
    limit: int

    @property
    def sort(self) -> str:
        """A column, after a minus sign where the order is descending."""

    @property
    def position(self) -> tuple[Any, UUID] | None:
        """The sorted column and the id of the last row before the page."""

    @property
    def filters(self) -> Mapping[str, Any]:
        """Values by name: a column, `q` to search, or as `due_after` for the column `due_on`."""


@dataclass(frozen=True)
class Rows(Generic[ReadT]):
    """Some of the rows that match, and how many match, as far as they were counted."""

    items: list[ReadT]
    total: int
    total_is_exact: bool
    has_more: bool


class _Start(Enum):
    """The start of a page: the first row, or after a row whose sorted column is given."""

    TOP = auto()
    AFTER_VALUE = auto()
    AFTER_NULL = auto()


class Repository(Generic[TableT, ReadT]):
    """The rows of a table, inside one request's connection.

    A subclass names its table, and the model of responses: no other columns are read. In a table
    with the column `is_active`, a deleted row becomes inactive, and cannot be seen any more. A rule
    of the subclass's own is a method that calls `super()`.
    """

    table: type[TableT]
    read: type[ReadT]
    not_found: type[NotFoundError]
    # Raised if a value must be unique and is not.
    conflict: type[ConflictError] | None = None
    # The columns that `q` searches.
    searched: tuple[str, ...] = ()
    shows_inactive = False

    def __init__(
        self, connection: AsyncConnection, within: Mapping[str, object] | None = None
    ) -> None:
        """Take the connection and, by column, the values that all rows must have.

        Rows with other values look missing. New rows get these values.
        """
        self._connection = connection
        self._within = dict(within or {})
        self._new_values = self._within

    async def page(self, query: ListRequest) -> Rows[ReadT]:
        """Return some of the rows that match, and how many match.

        They are counted up to the engine's option `list_total_limit`; 0 is no limit.
        """
        total_limit = self._total_limit()
        values = {**self._scope(), **query.filters}
        if "q" in values:
            values["q"] = _escape(values["q"])
        if total_limit:
            values["_total_limit"] = total_limit + 1
        place: dict[str, object] = {"_limit": query.limit + 1}
        if query.position is None:
            start = _Start.TOP
            place["_skip"] = query.skip
        else:
            place["_value"], place["_id"] = query.position
            start = _Start.AFTER_NULL if query.position[0] is None else _Start.AFTER_VALUE
        kind = frozenset(self._within), frozenset(query.filters), bool(total_limit)
        rows = await fetch_all(
            self._connection, self._page(query.sort, start, *kind), **values, **place
        )
        if rows or (start is _Start.TOP and not query.skip):
            total = rows[0]["_total"] if rows else 0
        else:
            # A page past the end has no row to carry the total.
            counted = await fetch_all(self._connection, self._count(*kind), **values)
            total = counted[0]["_total"]
        return Rows(
            items=[self.read.model_validate(row) for row in rows[: query.limit]],
            total=min(total, total_limit) if total_limit else total,
            total_is_exact=not total_limit or total <= total_limit,
            has_more=len(rows) > query.limit,
        )

    async def get(self, id_: UUID) -> ReadT:
        """Return the row.

        Raises:
            NotFoundError: there is none with this id.
        """
        statement = self._select_one(frozenset(self._within))
        row = await fetch_one(self._connection, statement, _id=id_, **self._scope())
        return self._found(row, id_)

    async def create(self, data: BaseModel) -> ReadT:
        """Add a row.

        Raises:
            ConflictError: another row has a value that must be unique.
        """
        return await self._create(data.model_dump())

    async def _create(self, values: Mapping[str, Any]) -> ReadT:
        row = await self._write(self._insert(), id=uuid4(), **values, **self._new_values)
        return self.read.model_validate(row)

    async def update(self, id_: UUID, changes: Mapping[str, Any]) -> ReadT:
        """Set the columns given; leave the rest.

        Raises:
            NotFoundError: there is none with this id.
            ConflictError: another row has a value that must be unique.
        """
        if not changes:
            return await self.get(id_)
        statement = self._update(frozenset(self._within))
        row = await self._write(statement, _id=id_, **self._scope(), **changes)
        return self._found(row, id_)

    async def delete(self, id_: UUID) -> None:
        """Delete the row; where the table has `is_active`, deactivate it.

        Raises:
            NotFoundError: there is none with this id.
        """
        statement = self._delete(frozenset(self._within))
        if await self._write(statement, _id=id_, **self._scope()) is None:
            raise self.not_found(id_)

    def _found(self, row: Row | None, id_: UUID) -> ReadT:
        if row is None:
            raise self.not_found(id_)
        return self.read.model_validate(row)

    async def _write(self, statement: sa.Executable, **values: object) -> Row | None:
        try:
            return await fetch_one(self._connection, statement, **values)
        except IntegrityError as error:
            if self.conflict is None or not is_unique_violation(error):
                raise
            raise self.conflict from None

    def _scope(self) -> dict[str, object]:
        # With the names of columns, they would be set by an UPDATE.
        return {f"_{name}": value for name, value in self._within.items()}

    def _total_limit(self) -> int:
        connection = cast("sa.Connection", self._connection.sync_connection)
        limit: int = connection.get_execution_options().get("list_total_limit", 0)
        return limit

    @classmethod
    async def contains(
        cls, connection: AsyncConnection, id_: UUID, within: Mapping[str, object]
    ) -> bool:
        """Whether there is such a row, with these values by column."""
        scope = {f"_{name}": value for name, value in within.items()}
        statement = cls._select_one(frozenset(within))
        return await fetch_one(connection, statement, _id=id_, **scope) is not None

    @classmethod
    def select_ids(cls) -> sa.Select[UUID]:
        """Return a statement that selects the ids of all rows that are not deleted."""
        id_: sa.Column[UUID] = cls._column("id")
        return sa.select(id_).where(*cls._conditions(frozenset()))

    # Statements are built once: to build one takes longer than to run it.

    @classmethod
    @lru_cache(_KEPT)
    def _page(
        cls, sort: str, start: _Start, within: _Names, filters: _Names, is_bounded: bool
    ) -> sa.Select[Any]:
        keys = cls._column(sort.removeprefix("-")), cls._column("id")
        is_descending, is_nullable = sort.startswith("-"), bool(keys[0].nullable)
        total = cls._count(within, filters, is_bounded).scalar_subquery().label("_total")
        rows = (
            sa.select(*cls._columns(), total)
            .where(*cls._conditions(within, filters))
            .order_by(*_order(keys, is_descending, is_nullable))
            .limit(sa.bindparam("_limit"))
        )
        if start is _Start.TOP:
            return rows.offset(sa.bindparam("_skip"))
        parts = [
            rows.where(condition) for condition in _after(keys, start, is_descending, is_nullable)
        ]
        if len(parts) == 1:
            return parts[0]
        # Each part reads an index from its own beginning; one condition for both would read all.
        both = sa.union_all(*(sa.select(part.subquery()) for part in parts)).subquery()
        order = _order([both.c[key.name] for key in keys], is_descending, is_nullable)
        return sa.select(both).order_by(*order).limit(sa.bindparam("_limit"))

    @classmethod
    @lru_cache(_KEPT)
    def _count(cls, within: _Names, filters: _Names, is_bounded: bool) -> sa.Select[int]:
        rows = sa.select(cls._column("id")).where(*cls._conditions(within, filters))
        if is_bounded:
            rows = rows.limit(sa.bindparam("_total_limit"))
        return sa.select(sa.func.count().label("_total")).select_from(rows.subquery())

    @classmethod
    @lru_cache(_KEPT)
    def _select_one(cls, within: _Names) -> sa.Select[Any]:
        return sa.select(*cls._columns()).where(*cls._identified(within))

    @classmethod
    @lru_cache(_KEPT)
    def _insert(cls) -> sa.Executable:
        return sa.insert(cls._table()).returning(*cls._columns())

    @classmethod
    @lru_cache(_KEPT)
    def _update(cls, within: _Names) -> sa.Executable:
        statement = sa.update(cls._table()).where(*cls._identified(within))
        return statement.returning(*cls._columns())

    @classmethod
    @lru_cache(_KEPT)
    def _delete(cls, within: _Names) -> sa.Executable:
        table, conditions = cls._table(), cls._identified(within)
        if "is_active" in table.columns:
            statement = sa.update(table).where(*conditions).values(is_active=False)
            return statement.returning(table.c.id)
        return sa.delete(table).where(*conditions).returning(table.c.id)

    @classmethod
    def _table(cls) -> sa.Table:
        return cast("sa.Table", sa.inspect(cls.table).local_table)

    @classmethod
    def _column(cls, name: str) -> sa.Column[Any]:
        return cls._table().columns[name]

    @classmethod
    def _columns(cls) -> list[sa.Column[Any]]:
        return [cls._column(name) for name in cls.read.model_fields]

    @classmethod
    def _identified(cls, within: _Names) -> list[_Condition]:
        return [cls._column("id") == sa.bindparam("_id"), *cls._conditions(within)]

    @classmethod
    def _conditions(cls, within: _Names, filters: _Names = frozenset()) -> list[_Condition]:
        conditions = [cls._column(name) == sa.bindparam(f"_{name}") for name in sorted(within)]
        if "is_active" in cls._table().columns and not cls.shows_inactive:
            conditions.append(cls._column("is_active").is_(True))
        return conditions + [cls._condition(name) for name in sorted(filters)]

    @classmethod
    def _condition(cls, name: str) -> _Condition:
        value: sa.BindParameter[Any] = sa.bindparam(name)
        columns = cls._table().columns
        if name in columns:
            return columns[name] == value
        if name == "q":
            return sa.or_(*(columns[each].icontains(value, escape="\\") for each in cls.searched))
        stem, _, comparison = name.rpartition("_")
        names = (stem, f"{stem}_at", f"{stem}_on")
        column = next(columns[each] for each in names if each in columns)
        return cast("_Condition", _COMPARISONS[comparison](column, value))


def _order(
    keys: Sequence[sa.ColumnElement[Any]], is_descending: bool, is_nullable: bool
) -> list[sa.ColumnElement[Any]]:
    first, last = (key.desc() if is_descending else key.asc() for key in keys)
    if is_nullable:
        # Null counts as the largest value, in every database.
        first = first.nulls_first() if is_descending else first.nulls_last()
    return [first, last]


def _after(
    keys: Sequence[sa.Column[Any]], start: _Start, is_descending: bool, is_nullable: bool
) -> list[_Condition]:
    """Return the conditions of rows after the given one, each of a range in the order."""
    column, id_ = keys
    # Wider than the column, since clients can change a cursor.
    type_ = sa.BigInteger() if isinstance(column.type, sa.Integer) else column.type
    value, last = sa.bindparam("_value", type_=type_), sa.bindparam("_id", type_=id_.type)
    beyond = operator.lt if is_descending else operator.gt
    if start is _Start.AFTER_NULL:
        nulls = sa.and_(column.is_(None), beyond(id_, last))
        return [nulls, column.is_not(None)] if is_descending else [nulls]
    values = beyond(sa.tuple_(column, id_), sa.tuple_(value, last))
    return [values, column.is_(None)] if is_nullable and not is_descending else [values]


def _escape(text: str) -> str:
    """Return the text with the wildcards of LIKE taken literally."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
