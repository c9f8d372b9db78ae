"""Column types and SQL expressions that mean the same in every database."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator


class _SQLiteTimestamp(TypeDecorator[datetime]):
    """SQLite keeps no time zone: write UTC, read UTC."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return value.replace(tzinfo=UTC) if value else None


Timestamp = DateTime(timezone=True).with_variant(_SQLiteTimestamp(), "sqlite")


class server_now(FunctionElement[datetime]):  # noqa: N801, the name of an SQL function
    """The database server's clock, in microseconds where it has them."""

    type = DateTime(timezone=True)
    inherit_cache = True


@compiles(server_now, "postgresql")
def _postgresql_now(_element: server_now, _compiler: SQLCompiler, **_: Any) -> str:
    # now() would stand still for the length of a transaction.
    return "clock_timestamp()"


@compiles(server_now, "sqlite")
def _sqlite_now(_element: server_now, _compiler: SQLCompiler, **_: Any) -> str:
    # CURRENT_TIMESTAMP has seconds only; this is the form that SQLAlchemy reads and compares.
    return "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))"
