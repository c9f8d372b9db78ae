"""Which databases are taken, and through which driver."""

import ssl
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.core.settings import DatabaseSettings, Environment, Settings, load_settings
from app.core.settings.database import async_database_url
from app.core.settings.postgresql_url import connect_arguments, parse, tls
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
            "postgresql+asyncpg://host/app?channel_binding=require&sslmode=require",
        ),
        ("postgresql:///app?host=/run", "postgresql+asyncpg:///app?host=%2Frun"),
        (
            "postgresql://a.example:5433,b.example/app?sslmode=disable",
            "postgresql+asyncpg:///app?host=a.example%2Cb.example&port=5433%2C5432&sslmode=disable",
        ),
        (
            "postgresql://u@%2Fcloudsql%2Fp%3Aregion%3Ai/app",
            "postgresql+asyncpg://u@/app?host=%2Fcloudsql%2Fp%3Aregion%3Ai",
        ),
        ("postgresql://host/app?ssl=true", "postgresql+asyncpg://host/app?sslmode=require"),
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
        "postgresql://a,b/app?port=1,2,3",
        "postgresql://a:0,b/app",
        "postgresql://a:hunter2,b/app",
        "postgresql://host/app?sslmode=hunter2",
        "sqlite:///app.db",
    ],
)
def test_other_databases_are_refused_without_repeating_them(given: str) -> None:
    with pytest.raises(ValueError, match=r"^(must be|is not|has)") as error:
        async_database_url(given, Environment.PRODUCTION)

    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("sslmode=hunter2", "sslmode"),
        ("channel_binding=hunter2", "channel_binding"),
        ("target_session_attrs=hunter2", "target_session_attrs"),
        ("connect_timeout=hunter2", "connect_timeout"),
        ("keepalives_idle=-1", "keepalives_idle"),
        ("gssencmode=require", "gssencmode"),
        ("load_balance_hosts=random", "load_balance_hosts"),
        ("service=hunter2", "service"),
        ("require_auth=hunter2", "require_auth"),
        ("schema=hunter2", "schema"),
        ("sslrootcert=system&sslmode=require", "sslrootcert=system"),
        ("sslmode=verify-full&sslrootcert=/nothing/hunter2", "sslrootcert"),
        ("sslmode=require&sslcert=/nothing/hunter2", "sslcert"),
        ("pgbouncer=hunter2", "pgbouncer"),
    ],
)
def test_parameter_that_cannot_work_stops_the_start_by_name(query: str, named: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(database_url=f"postgresql://host/app?{query}")

    [fault] = refused.value.errors()
    assert named in fault["msg"]
    assert "hunter2" not in str(refused.value)


def test_certificate_that_is_none_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "root.crt").write_text("hunter2")

    with pytest.raises(ValidationError, match="sslrootcert"):
        Settings(
            database_url=f"postgresql://host/app?sslmode=verify-ca&sslrootcert={tmp_path}/root.crt"
        )


def test_parameters_become_arguments_of_the_driver() -> None:
    url = parse(
        "postgresql://u:p@a:1,[::1]:2,c/app?sslmode=require&sslnegotiation=direct&options=-c x=1"
        "&application_name=me&connect_timeout=7&target_session_attrs=any&passfile=/run/pass"
    )

    arguments = connect_arguments(url)

    context = arguments.pop("ssl")
    assert context.verify_mode is ssl.CERT_NONE
    assert arguments == {
        "host": ["a", "::1", "c"],
        "port": [1, 2, 5432],
        "direct_tls": True,
        "passfile": "/run/pass",
        "server_settings": {"application_name": "me", "options": "-c x=1"},
        "target_session_attrs": "any",
        "timeout": 7,
    }


def test_certificates_of_the_system_are_for_verified_names() -> None:
    context = tls({"sslrootcert": "system"})

    assert isinstance(context, ssl.SSLContext)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_modes_without_a_certificate_are_left_to_the_driver(mode: str) -> None:
    assert tls({"sslmode": mode}) == mode


def test_transaction_pooler_does_not_keep_parameters() -> None:
    for pooled in ("pgbouncer=true&", ""):
        with pytest.raises(ValidationError, match="options"):
            Settings(
                database_url=f"postgresql://host/app?{pooled}options=-c%20geqo%3Doff",
                database_pooler="session" if pooled else "transaction",
            )

    settings = Settings(database_url="postgresql://host/app?pgbouncer=true&options=project%3Dx")
    assert settings.is_behind_transaction_pooler


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
