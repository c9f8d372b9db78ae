"""Which errors of PostgreSQL are answered with 503: the same request may succeed later."""

import logging

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError

from app.core.logging import configure_logging
from app.core.settings import Settings
from app.db.errors import is_transient


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
    assert is_transient(error(sqlstate))


@pytest.mark.parametrize("sqlstate", ["23505", "42P01", "42601", "22001", None])
def test_faults_do_not(sqlstate: str | None) -> None:
    assert not is_transient(error(sqlstate))
    assert not is_transient(error(sqlstate, IntegrityError))


@pytest.mark.parametrize("kind", [InterfaceError, OperationalError])
def test_lost_connections_pass(kind: type[DBAPIError]) -> None:
    assert is_transient(error(None, kind))


def test_invalidated_connections_pass() -> None:
    lost = error(None)
    lost.connection_invalidated = True

    assert is_transient(lost)


def test_rows_that_an_error_shows_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_level="info"))
    error = RuntimeError('violates "x"\nDETAIL:  Failing row contains (hunter2).')

    logging.getLogger("anything").error("It failed", exc_info=error)

    output = capsys.readouterr().out
    assert "violates" in output
    assert "hunter2" not in output
