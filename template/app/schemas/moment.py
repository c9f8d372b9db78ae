"""Dates and times in requests."""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _is_written_as_date(value: object) -> object:
    # Pydantic would take a number, in text too, as the seconds since 1970.
    if isinstance(value, date) or (isinstance(value, str) and _DATE.match(value)):
        return value
    raise ValueError("must be written as in 2026-01-31 or 2026-01-31T12:00:00Z")


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999 in UTC") from None


# RFC 3339. Without a zone it is in UTC; a date alone is its first moment.
Moment = Annotated[
    datetime,
    BeforeValidator(_is_written_as_date),
    AfterValidator(_in_utc),
    Field(examples=["2026-01-31T12:00:00Z"]),
]
