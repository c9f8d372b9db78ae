"""Run statements on asyncpg, compiled by SQLAlchemy but without its execution layer.

The private members of SQLAlchemy that this takes are used here and nowhere else.
`tests/postgresql/test_driver.py` compares rows, errors and transactions with SQLAlchemy's own.
"""
# ruff: noqa: SLF001

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

from sqlalchemy import Connection, Dialect, Executable, Float
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.schema import ScalarElementColumnDefault
from sqlalchemy.types import TypeEngine

_Processor = Callable[[Any], Any]

# Object ids in PostgreSQL's catalog of types. SQLAlchemy needs them for numbers only.
_FLOAT8: Final = 701
_NUMERIC: Final = 1700
_EVENTS: Final = (
    "before_execute",
    "after_execute",
    "before_cursor_execute",
    "after_cursor_execute",
)


@dataclass(frozen=True)
class _Parameter:
    name: str
    is_required: bool
    default: object
    process: _Processor | None

    def argument(self, values: Mapping[str, object]) -> object:
        if self.is_required and self.name not in values:
            raise InvalidRequestError(f"A value is required for bind parameter {self.name!r}")
        value = values.get(self.name, self.default)
        return value if self.process is None else self.process(value)


@dataclass(frozen=True)
class DriverStatement:
    """SQL for asyncpg, how values become its arguments, and how its values become rows."""

    sql: str
    parameters: list[_Parameter]
    # By column, where the driver's values are not those of the column's type.
    processors: dict[str, _Processor]

    async def fetch(
        self, connection: AsyncConnection, values: Mapping[str, object]
    ) -> list[dict[str, Any]]:
        """Run the statement in the connection's transaction, and return its rows.

        Raises:
            SQLAlchemyError: as when SQLAlchemy executes it.
        """
        adapter = _adapter(cast("Connection", connection.sync_connection))
        arguments: list[object] = []
        try:
            arguments += [parameter.argument(values) for parameter in self.parameters]
            if not adapter.autocommit and adapter._transaction is None:
                # SQLAlchemy, too, sends BEGIN with the first statement.
                await adapter._start_transaction()
            records = await adapter.driver_connection.fetch(self.sql, *arguments)
        except BaseException as error:
            await connection.run_sync(_raise_from, error, self.sql, arguments)
            raise
        rows = [dict(record) for record in records]
        for name, process in self.processors.items():
            for row in rows:
                row[name] = process(row[name])
        return rows


@lru_cache(maxsize=500)
def compile_for_driver(
    statement: Executable, dialect: Dialect, names: tuple[str, ...]
) -> DriverStatement | None:
    """Compile a statement for values with these names.

    Return None if SQLAlchemy has to execute it: when lists become part of the SQL, and when Python
    computes default values of columns.
    """
    # As SQLAlchemy does: names of columns are set by INSERT and UPDATE.
    compiled: SQLCompiler = cast("Any", statement).compile(dialect=dialect, column_keys=list(names))
    if compiled.post_compile_params or compiled.update_prefetch:
        return None
    defaults: dict[str, object] = {}
    for column in compiled.insert_prefetch:
        if not isinstance(column.default, ScalarElementColumnDefault):
            return None
        defaults[column.key] = column.default.arg
    parameters = []
    for name in compiled.positiontup or []:
        bind = compiled.binds[name]
        parameters.append(
            _Parameter(
                name=bind.key,
                is_required=bind.required and bind.key not in defaults,
                default=defaults.get(bind.key, bind.effective_value),
                process=bind.type.dialect_impl(dialect).bind_processor(dialect),
            )
        )
    processors = {
        name: process
        for name, type_ in _columns(statement)
        if (process := _result_processor(type_, dialect)) is not None
    }
    return DriverStatement(compiled.string, parameters, processors)


def is_direct(connection: AsyncConnection) -> bool:
    """Whether SQLAlchemy would do no more than pass a statement on to asyncpg.

    It does more when it has to connect or to begin a transaction of its own, and when it logs
    statements or calls event listeners, such as those of tracers.
    """
    sync = connection.sync_connection
    if sync is None or sync.dialect.driver != "asyncpg" or sync.invalidated:
        return False
    has_events = sync._has_events or sync.engine._has_events
    if sync._echo or (has_events and any(getattr(sync.dispatch, name) for name in _EVENTS)):
        return False
    return sync.in_transaction() or _adapter(sync).autocommit


def _adapter(sync: Connection) -> Any:
    """Return SQLAlchemy's adapter of the asyncpg connection."""
    return sync.connection.dbapi_connection


def _columns(statement: Any) -> list[tuple[str, TypeEngine[Any]]]:
    if statement.is_select:
        described = statement.column_descriptions
    else:
        described = getattr(statement, "returning_column_descriptions", [])
    return [(each["name"], each["type"]) for each in described]


def _result_processor(type_: TypeEngine[Any], dialect: Dialect) -> _Processor | None:
    oid = _FLOAT8 if isinstance(type_, Float) else _NUMERIC
    return type_.dialect_impl(dialect).result_processor(dialect, oid)


def _raise_from(sync: Connection, error: BaseException, sql: str, arguments: list[object]) -> None:
    """Raise the driver's error as SQLAlchemy does; give up the connection if it is lost."""
    try:
        _adapter(sync)._handle_exception(error)
    except BaseException as translated:  # noqa: BLE001, raised by what it is given to
        sync._handle_dbapi_exception(translated, sql, tuple(arguments), None, None)
