"""Which databases are taken, and through which driver."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from app.core.settings import DatabaseSettings, Environment, Settings, load_settings
from app.core.settings.database import async_database_url
from app.db.engine import create_engine

PROJECT = Path(__file__).parents[2]


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
    with pytest.raises(ValueError, match=r"^(must be|is not|has)") as error:
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
        (Environment.DEVELOPMENT, f"sqlite+aiosqlite:///{PROJECT}/app.db"),
    ],
)
def test_development_and_tests_have_a_default(environment: Environment, url: str) -> None:
    assert Settings(environment=environment).database_url.get_secret_value() == url


def test_default_is_in_the_project_when_migrations_run_elsewhere(tmp_path: Path) -> None:
    (project := tmp_path / "project").mkdir()
    for name in ("app", "migrations"):
        (project / name).symlink_to(PROJECT / name)
    config = shutil.copy(PROJECT / "alembic.ini", project)
    (elsewhere := tmp_path / "elsewhere").mkdir()

    subprocess.run(  # noqa: S603, our own command
        [sys.executable, "-m", "alembic", "-c", config, "upgrade", "head"],
        cwd=elsewhere,
        env={**os.environ, "ENVIRONMENT": "development"},
        timeout=60,
        check=True,
    )

    assert (project / "app.db").is_file()
    assert not list(elsewhere.iterdir())


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


def test_parameters_of_the_driver_are_taken() -> None:
    url = async_database_url(
        "sqlite:////data/app.db?timeout=2.5&cached_statements=50", Environment.PRODUCTION
    )

    assert url == "sqlite+aiosqlite:////data/app.db?cached_statements=50&timeout=2.5"


@pytest.mark.parametrize(
    ("parameter", "named"),
    [
        ("isolation_level=x", "isolation_level"),
        ("detect_types=3", "detect_types"),
        ("check_same_thread=1", "check_same_thread"),
        ("autocommit=1", "autocommit"),
        ("uri=true", "uri"),
        ("mode=ro", "mode"),
        ("timeout=hunter2", "timeout"),
        ("timeout=-1", "timeout"),
        ("timeout=nan", "timeout"),
        ("cached_statements=1.5", "cached_statements"),
    ],
)
def test_other_parameters_are_refused_by_name(parameter: str, named: str) -> None:
    with pytest.raises(ValueError, match=rf"\b{named}\b") as error:
        async_database_url(f"sqlite:////data/app.db?{parameter}", Environment.PRODUCTION)

    assert "hunter2" not in str(error.value)


async def test_timeout_of_the_url_is_how_long_writers_wait(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/app.db?timeout=2.5"
    engine = create_engine(Settings(database_url=url))
    async with engine.connect() as connection:
        assert await connection.scalar(text("PRAGMA busy_timeout")) == 2500
    await engine.dispose()
