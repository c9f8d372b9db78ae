"""Which databases are taken, and through which driver."""

import pytest

from app.core.database_url import async_database_url, default_database_url
from app.core.settings import Environment


@pytest.mark.parametrize("driver", ["sqlite", "sqlite+aiosqlite", "sqlite+pysqlite"])
def test_file_is_taken(driver: str) -> None:
    url = async_database_url(f"{driver}:////data/app.db", Environment.PRODUCTION)

    assert url == "sqlite+aiosqlite:////data/app.db"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "/data/hunter2.db",
        "://hunter2",
        "hunter2",
        "sqlite:////data/app.db?hunter2=1",
        "mysql://u:a@b:hunter2@host:3306/app",
        "mysql://u:hunter2@host/app",
    ],
)
def test_other_databases_are_refused_without_repeating_them(given: str) -> None:
    with pytest.raises(ValueError, match=r"^(must be|is not|takes)") as error:
        async_database_url(given, Environment.PRODUCTION)

    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("given", ["sqlite://", "sqlite:///:memory:", "sqlite+aiosqlite://"])
def test_database_in_memory_is_for_tests_alone(given: str) -> None:
    with pytest.raises(ValueError, match="must name a file"):
        async_database_url(given, Environment.DEVELOPMENT)

    assert async_database_url(given, Environment.TEST).startswith("sqlite+aiosqlite://")


def test_file_for_development_is_made_up_and_no_other() -> None:
    assert default_database_url(Environment.TEST) == "sqlite+aiosqlite://"
    assert default_database_url(Environment.DEVELOPMENT) == "sqlite+aiosqlite:///app.db"
    with pytest.raises(ValueError, match="is missing"):
        default_database_url(Environment.PRODUCTION)
