"""Which databases are taken, and through which driver."""

import pytest
from pydantic import ValidationError

from app.core.settings import DatabaseSettings, Environment, Settings, load_settings
from app.core.settings.database import async_database_url
from tests.support import postgresql


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://u:p@host/app", "postgresql+asyncpg://u:p@host/app"),
        ("postgresql://u:p@host:6432/app", "postgresql+asyncpg://u:p@host:6432/app"),
        ("postgresql+psycopg://u:p@host/app", "postgresql+asyncpg://u:p@host/app"),
        ("postgresql+asyncpg://u:p@host/app", "postgresql+asyncpg://u:p@host/app"),
        ("postgresql://u:p%40%2F@host/app", "postgresql+asyncpg://u:p%40%2F@host/app"),
        (
            "postgresql://host/app?sslmode=require&channel_binding=require",
            "postgresql+asyncpg://host/app?ssl=require",
        ),
        ("postgresql:///app?host=/run", "postgresql+asyncpg:///app?host=%2Frun"),
        (
            "postgresql://host/app?application_name=x&connect_timeout=10&pgbouncer=true",
            "postgresql+asyncpg://host/app",
        ),
    ],
)
def test_forms_that_providers_hand_out_are_taken(given: str, used: str) -> None:
    assert async_database_url(given, Environment.PRODUCTION) == used


@pytest.mark.parametrize(
    "given",
    [
        "",
        "://hunter2",
        "hunter2",
        "mysql://u:hunter2@host/app",
        "postgresql://u:a@b:hunter2@host:5432/app",
        "postgresql://u:hunter2@host:99999/app",
        "postgresql://u:hunter2@host:0/app",
        "postgresql://host/app?hunter2=1",
        "postgresql://host/app?options=hunter2",
        "postgresql://host/app?sslmode=hunter2",
        "sqlite:///app.db",
    ],
)
def test_other_databases_are_refused_without_repeating_them(given: str) -> None:
    with pytest.raises(ValueError, match=r"^(must be|is not|has)") as error:
        async_database_url(given, Environment.PRODUCTION)

    assert "hunter2" not in str(error.value)


def test_tests_may_use_sqlite() -> None:
    assert async_database_url("sqlite://", Environment.TEST) == "sqlite+aiosqlite://"
    assert Settings().database_url.get_secret_value() == "sqlite+aiosqlite://"


@pytest.mark.parametrize("environment", ["development", "staging", "production"])
def test_no_database_is_made_up(environment: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(environment=Environment(environment))

    [fault] = [fault for fault in refused.value.errors() if fault["loc"] == ("database_url",)]
    assert "is missing" in fault["msg"]


def test_password_is_not_shown() -> None:
    settings = Settings(database_url="postgresql://u:hunter2@host/app")

    assert "hunter2" not in repr(settings)
    assert "hunter2" not in settings.model_dump_json()


@pytest.mark.parametrize("database", ["app", "production", ""])
def test_database_that_is_not_for_tests_is_refused(
    monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    monkeypatch.setenv("TEST_DATABASE_URL", f"postgresql://u:hunter2@host/{database}")

    with pytest.raises(pytest.exit.Exception, match="must name a database with `test`"):
        postgresql.server_url()


def test_database_for_tests_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_DATABASE_URL", "postgres://u@host/app_test")

    assert postgresql.server_url().drivername == "postgresql+asyncpg"


def test_migrations_and_purges_need_no_other_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what runs them in production holds no other secret."""
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://app@database/app")

    settings = load_settings(DatabaseSettings)

    assert settings.environment is Environment.PRODUCTION
    assert settings.database_url.get_secret_value() == "postgresql+asyncpg://app@database/app"
