"""Lists: the queries that ask for a page, and the pages."""

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    LiteralString,
    Protocol,
    Self,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from app.schemas.moment import Moment
from app.schemas.text import STORABLE, Text

ReadT = TypeVar("ReadT", bound=BaseModel)
ReadT_co = TypeVar("ReadT_co", bound=BaseModel, covariant=True)
SortT = TypeVar("SortT", bound=str)

_PAGING: Final = {"skip", "limit", "cursor", "sort"}
_DIGEST_BYTES: Final = 8
_ID_BYTES: Final = 16


# Part of a text, to search for.
Search = Annotated[str, Field(max_length=255), STORABLE]


class ListQuery(BaseModel, Generic[ReadT, SortT]):
    """Which rows to list, and in which order; ties are broken by id.

    The parameters are the model of the rows, and the names that `sort` accepts, as a `Literal`:
    fields of the model, also with a minus sign for descending order. A subclass adds filters, null
    by default: `q` to search, fields of the model to be equal, and such as `created_after` and
    `created_before` for `created_at`, `due_after` and `due_before` for `due_on`.
    """

    model_config = ConfigDict(extra="forbid")

    # The largest 32-bit integer.
    skip: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    limit: Annotated[int, Field(ge=1, le=100)] = 50
    cursor: Annotated[str, Field(max_length=4096)] | None = Field(
        default=None,
        description="`next_cursor` of the page before, in place of `skip`; with the same `sort` and"
        " filters.",
    )
    sort: SortT = cast("SortT", "-created_at")

    _position: tuple[Any, UUID] | None = PrivateAttr(default=None)

    @property
    def position(self) -> tuple[Any, UUID] | None:
        """The sorted field and the id of the last row of the page before."""
        return self._position

    @property
    def filters(self) -> dict[str, Any]:
        """The filters given, by name."""
        return self.model_dump(exclude=_PAGING, exclude_none=True)

    @model_validator(mode="after")
    def _read_cursor(self) -> Self:
        if self.cursor is None:
            return self
        if "skip" in self.model_fields_set:
            raise _error_in("skip", "cannot be combined with `cursor`")
        try:
            self._position = self._decode(self.cursor)
        except ValueError:
            raise _error_in(
                "cursor", "is not a `next_cursor` of this list with this `sort` and these filters"
            ) from None
        return self

    def cursor_after(self, item: ReadT) -> str:
        """Return the cursor of the page that begins after the item."""
        field = self.sort.removeprefix("-")
        value = getattr(item, field)
        id_: UUID = item.id  # type: ignore[attr-defined]
        content = id_.bytes + _adapter(type(item), field).dump_json(value)
        return base64.urlsafe_b64encode(self._digest(content) + content).decode().rstrip("=")

    def _decode(self, cursor: str) -> tuple[Any, UUID]:
        decoded = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        digest, content = decoded[:_DIGEST_BYTES], decoded[_DIGEST_BYTES:]
        if digest != self._digest(content):
            raise ValueError
        id_, value = content[:_ID_BYTES], content[_ID_BYTES:]
        adapter = _adapter(_read_model(type(self)), self.sort.removeprefix("-"))
        return adapter.validate_json(value), UUID(bytes=id_)

    def _digest(self, content: bytes) -> bytes:
        """Bind the content to the order and the filters. It is no secret, and needs none."""
        query = self.model_dump_json(exclude={"skip", "limit", "cursor"}).encode()
        return hashlib.sha256(query + content).digest()[:_DIGEST_BYTES]


class Listed(Protocol[ReadT_co]):
    """The result of a service for a `ListQuery`."""

    @property
    def items(self) -> Sequence[ReadT_co]: ...
    @property
    def total(self) -> int: ...
    @property
    def total_is_exact(self) -> bool: ...
    @property
    def has_more(self) -> bool: ...


class Page(BaseModel, Generic[ReadT]):
    """Some of the rows that match, and how many match in all."""

    items: list[ReadT]
    total: int = Field(description="Counted up to a limit; then `total_is_exact` is false.")
    total_is_exact: bool
    skip: int
    limit: int
    has_more: bool
    next_cursor: str | None = Field(description="The `cursor` of the next page, if there is one.")

    @classmethod
    def of(cls, listed: Listed[ReadT], query: ListQuery[ReadT, Any]) -> Self:
        """Return the page that `query` asked for."""
        items = list(listed.items)
        return cls(
            items=items,
            total=listed.total,
            total_is_exact=listed.total_is_exact,
            skip=query.skip,
            limit=query.limit,
            has_more=listed.has_more,
            next_cursor=query.cursor_after(items[-1]) if listed.has_more else None,
        )


# No larger number is stored. Cursors could hold more, since clients can make them up.
_STORABLE_TYPES: Final[dict[Any, Any]] = {
    str: Text,
    int: Annotated[int, Field(ge=-(2**63), lt=2**63)],
    Decimal: Annotated[Decimal, Field(max_digits=1000)],
    datetime: Moment,
}


@cache
def _adapter(read: type[BaseModel], field: str) -> TypeAdapter[Any]:
    type_: Any = read.model_fields[field].annotation
    types = get_args(type_) if get_origin(type_) in {Union, UnionType} else (type_,)
    storable: Any = Union[tuple(_STORABLE_TYPES.get(each, each) for each in types)]  # noqa: UP007
    return TypeAdapter(storable)


@cache
def _read_model(query: type[ListQuery[Any, Any]]) -> type[BaseModel]:
    """Return the first parameter of `ListQuery[…]`, which the query's class inherits from."""
    bases = (base for base in query.__mro__ if issubclass(base, ListQuery))
    known = (base.__pydantic_generic_metadata__ for base in bases)
    model: type[BaseModel] = next(each["args"][0] for each in known if each["args"])
    return model


def _error_in(field: str, message: LiteralString) -> ValidationError:
    error = PydanticCustomError("value_error", message)
    return ValidationError.from_exception_data(
        "ListQuery", [{"type": error, "loc": (field,), "input": None}]
    )
