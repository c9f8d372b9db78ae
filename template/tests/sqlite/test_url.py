"""Which databases are taken, and through which driver."""

import pytest
from pydantic import ValidationError

from app.core.settings import DatabaseSettings, Environment, Settings, load_settings
from app.core.settings.database import async_database_url


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


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        (Environment.TEST, "sqlite+aiosqlite://"),
        (Environment.DEVELOPMENT, "sqlite+aiosqlite:///app.db"),
    ],
)
def test_development_and_tests_have_a_default(environment: Environment, url: str) -> None:
    assert Settings(environment=environment).database_url.get_secret_value() == url


def test_deployed_service_has_no_default() -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(environment=Environment.PRODUCTION)

    [fault] = [fault for fault in refused.value.errors() if fault["loc"] == ("database_url",)]
    assert "is missing" in fault["msg"]


def test_migrations_and_purges_need_no_other_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what runs them in production holds no other secret."""
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("DATABASE_URL", "sqlite+aiosqlite:////data/app.db")

    settings = load_settings(DatabaseSettings)

    assert settings.environment is Environment.PRODUCTION
    assert settings.database_url.get_secret_value() == "sqlite+aiosqlite:////data/app.db"
