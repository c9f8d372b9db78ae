"""What errors of PostgreSQL mean to clients, by their code."""

import logging

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from app.core.errors import ConflictError, UnavailableError, UnprocessableError
from app.core.logging import configure_logging
from app.core.settings import Settings
from app.db.engine import create_engine
from app.db.errors import domain_error


class DriverError(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        self.sqlstate = sqlstate


def error(sqlstate: str | None, kind: type[DBAPIError] = DBAPIError) -> DBAPIError:
    return kind("SELECT 1", {}, DriverError(sqlstate))


@pytest.mark.parametrize(
    "sqlstate",
    [
        *("08006", "25006", "25P03", "40001", "40P01", "53300"),
        *("53100", "55P03", "57014", "57P01", "57P03"),
    ],
)
def test_outages_timeouts_and_lost_races_pass(sqlstate: str) -> None:
    assert isinstance(domain_error(error(sqlstate)), UnavailableError)


@pytest.mark.parametrize("sqlstate", ["23000", "23001", "23503", "23505", "23P01"])
def test_constraints_between_rows_are_conflicts(sqlstate: str) -> None:
    assert isinstance(domain_error(error(sqlstate)), ConflictError)


@pytest.mark.parametrize(
    "sqlstate",
    [
        *("21000", "22001", "22003", "22008", "22012", "22021", "2201W", "22P02", "22P05"),
        *("23502", "23514", "44000", "54000", "54001", "P0001"),
    ],
)
def test_values_that_do_not_fit_are_invalid(sqlstate: str) -> None:
    assert isinstance(domain_error(error(sqlstate)), UnprocessableError)


@pytest.mark.parametrize("sqlstate", ["2200H", "42501", "42601", "42703", "42P01", "XX000", None])
def test_faults_of_the_service_are_not_the_clients(sqlstate: str | None) -> None:
    assert domain_error(error(sqlstate)) is None


@pytest.mark.parametrize("kind", [InterfaceError, OperationalError])
def test_lost_connections_pass(kind: type[DBAPIError]) -> None:
    assert isinstance(domain_error(error(None, kind)), UnavailableError)


def test_invalidated_connections_pass() -> None:
    lost = error(None)
    lost.connection_invalidated = True

    assert isinstance(domain_error(lost), UnavailableError)


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(sa.select(sa.cast("x", sa.String(1)) + "\0"), id="NUL"),
        pytest.param(sa.select(sa.cast(sa.literal("x"), sa.Integer)), id="not a number"),
        pytest.param(sa.select(sa.literal(1) / sa.literal(0)), id="division by zero"),
        pytest.param(sa.select(sa.literal("x").op("~")("(")), id="regular expression"),
        pytest.param(sa.select(sa.literal(1).in_(range(40_000))), id="too many values"),
        pytest.param(sa.select(1).limit(-1), id="negative limit"),
        pytest.param(
            sa.select(sa.cast(sa.literal("[" * 20_000 + "]" * 20_000), sa.JSON)), id="too deep"
        ),
    ],
)
async def test_server_rejects_values_that_do_not_fit(
    postgresql_url: str | None, statement: sa.Select[tuple[object]]
) -> None:
    if postgresql_url is None:
        pytest.skip("needs --database=postgresql")
    engine = create_engine(Settings(database_url=postgresql_url))
    async with engine.connect() as connection:
        with pytest.raises(DBAPIError) as raised:
            await connection.execute(statement)
    await engine.dispose()

    assert isinstance(domain_error(raised.value), UnprocessableError)


def test_rows_that_an_error_shows_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_level="info"))
    error = RuntimeError('violates "x"\nDETAIL:  Failing row contains (hunter2).')

    logging.getLogger("anything").error("It failed", exc_info=error)

    output = capsys.readouterr().out
    assert "violates" in output
    assert "hunter2" not in output
