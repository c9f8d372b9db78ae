"""Rows in the memory of the process, with the interface of a repository."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar
from uuid import UUID, uuid4

from pydantic import BaseModel

from app.core.errors import ConflictError, NotFoundError
from app.schemas.pages import ListQuery

ReadT = TypeVar("ReadT", bound=BaseModel)

_COMPARISONS: Final = {"after": operator.gt, "before": operator.lt}


@dataclass(frozen=True)
class Rows(Generic[ReadT]):
    """Some of the rows that match, and how many match, as far as they were counted."""

    items: list[ReadT]
    total: int
    total_is_exact: bool
    has_more: bool


class MemoryRepository(Generic[ReadT]):
    """Rows by id, until the process ends.

    A subclass names the model of its rows, which has `id`, `created_at` and `updated_at`.
    """

    read: type[ReadT]
    not_found: type[NotFoundError]
    # The fields that `q` is searched for in.
    searched: tuple[str, ...] = ()
    # The fields whose values must be unique, and the error when one is not.
    unique: tuple[str, ...] = ()
    conflict: type[ConflictError] = ConflictError

    def __init__(self, total_limit: int) -> None:
        """Count the rows of a list up to the limit; 0 is no limit."""
        self._total_limit = total_limit
        self._rows: dict[UUID, ReadT] = {}

    async def page(self, query: ListQuery[ReadT, Any]) -> Rows[ReadT]:
        """Return some of the rows that match, and how many match."""
        field, is_descending = query.sort.removeprefix("-"), query.sort.startswith("-")
        filters = query.filters
        found = [(id_, row) for id_, row in self._rows.items() if self._matches(row, filters)]
        total, limit = len(found), self._total_limit
        keyed = [(_key(getattr(row, field), id_), row) for id_, row in found]
        keyed.sort(key=operator.itemgetter(0), reverse=is_descending)
        if query.position is not None:
            position = _key(*query.position)
            beyond = operator.lt if is_descending else operator.gt
            keyed = [(key, row) for key, row in keyed if beyond(key, position)]
        rows = [row for _, row in keyed[query.skip :]]
        return Rows(
            items=rows[: query.limit],
            total=min(total, limit) if limit else total,
            total_is_exact=not limit or total <= limit,
            has_more=len(rows) > query.limit,
        )

    async def get(self, id_: UUID) -> ReadT:
        """Return the row.

        Raises:
            NotFoundError: there is none with this id.
        """
        if id_ not in self._rows:
            raise self.not_found(id_)
        return self._rows[id_]

    async def create(self, data: BaseModel) -> ReadT:
        """Add a row."""
        id_, now = uuid4(), datetime.now(UTC)
        row = self.read(id=id_, **data.model_dump(), created_at=now, updated_at=now)
        self._check_unique(row, id_)
        self._rows[id_] = row
        return row

    async def update(self, id_: UUID, changes: Mapping[str, Any]) -> ReadT:
        """Set the fields given; leave the rest.

        Raises:
            NotFoundError: there is none with this id.
        """
        row = await self.get(id_)
        if changes:
            row = row.model_copy(update={**changes, "updated_at": datetime.now(UTC)})
            self._check_unique(row, id_)
            self._rows[id_] = row
        return row

    async def delete(self, id_: UUID) -> None:
        """Remove the row.

        Raises:
            NotFoundError: there is none with this id.
        """
        await self.get(id_)
        del self._rows[id_]

    def _check_unique(self, row: ReadT, id_: UUID) -> None:
        values = [(name, getattr(row, name)) for name in self.unique]
        others = [other for other_id, other in self._rows.items() if other_id != id_]
        if any(
            value is not None and getattr(other, name) == value
            for name, value in values
            for other in others
        ):
            raise self.conflict

    def _matches(self, row: ReadT, filters: Mapping[str, Any]) -> bool:
        return all(self._passes(row, name, value) for name, value in filters.items())

    def _passes(self, row: ReadT, name: str, value: Any) -> bool:
        if name in self.read.model_fields:
            return bool(getattr(row, name) == value)
        if name == "q":
            texts = (getattr(row, field) or "" for field in self.searched)
            return any(value.casefold() in text.casefold() for text in texts)
        stem, _, comparison = name.rpartition("_")
        fields = (stem, f"{stem}_at", f"{stem}_on")
        found = next(getattr(row, each) for each in fields if each in self.read.model_fields)
        return found is not None and bool(_COMPARISONS[comparison](found, value))


def _key(value: Any, id_: UUID) -> tuple[bool, Any, UUID]:
    """Return the sort key of a row: null sorts after any value."""
    return (value is None, "" if value is None else value, id_)
