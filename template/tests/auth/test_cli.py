"""The operator's commands about keys, users and sessions."""

import base64
import stat
from pathlib import Path

import pytest
from joserfc.jwk import RSAKey
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from app.cli import users
from app.cli.main import cli
from app.core.security.pem import MIN_BITS
from app.core.settings import Settings
from tests.support.accounts import PASSWORD


def configure(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """Give the commands these settings."""
    monkeypatch.setattr(users, "get_settings", lambda: settings)
    monkeypatch.setattr(users, "load_settings", lambda _: settings)


@pytest.fixture
def database(real_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database that the commands work on."""
    settings = Settings(database_url=SecretStr(real_database_url))
    configure(monkeypatch, settings)


def run(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(cli, arguments, input=given)


def test_key_is_printed_as_a_setting() -> None:
    result = run("keys", "generate")

    name, _, content = result.stdout.strip().partition("=")
    key = RSAKey.import_key(base64.b64decode(content))
    assert result.exit_code == 0
    assert name == "RSA_PRIVATE_KEY_CONTENT"
    assert key.is_private
    assert key.public_key.key_size >= MIN_BITS


def test_pair_is_written_for_its_owner_only(tmp_path: Path) -> None:
    result = run("keys", "generate", "--directory", str(tmp_path / "keys"))

    private, public = tmp_path / "keys" / "private.pem", tmp_path / "keys" / "public.pem"
    assert result.stdout == f"RSA_PRIVATE_KEY_PATH={private}\n"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert RSAKey.import_key(private.read_bytes()).is_private
    assert not RSAKey.import_key(public.read_bytes()).is_private


@pytest.mark.parametrize("name", ["private.pem", "public.pem"])
def test_key_is_never_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")

    result = run("keys", "generate", "--directory", str(tmp_path))

    assert result.exit_code == 1
    assert (tmp_path / name).read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_key_that_cannot_be_written_is_told_of_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("not a directory")

    result = run("keys", "generate", "--directory", str(tmp_path / "keys"))

    assert result.exit_code == 1
    assert result.output == f"{tmp_path / 'keys'}: File exists\n"


@pytest.mark.usefixtures("database")
def test_administrator_is_made() -> None:
    result = run("users", "create-admin", "Root@example.com", given=f"{PASSWORD}\n")

    assert result.exit_code == 0, result.output
    assert "root@example.com is an administrator" in result.output
    assert PASSWORD not in result.output


@pytest.mark.usefixtures("database")
def test_administrator_is_made_once() -> None:
    run("users", "create-admin", "root@example.com", given=f"{PASSWORD}\n")

    result = run("users", "create-admin", "root@example.com", given=f"{PASSWORD}\n")

    assert result.exit_code == 1
    assert "`users promote root@example.com`" in result.output
    assert len(result.output.splitlines()) == 1


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("email", "password", "fault"),
    [
        ("root@example.com", "", "password: must have at least 12"),
        ("root@example.com", "password1234", "password: is one of the commonest"),
        ("root", PASSWORD, "email: is not an e-mail address"),
    ],
)
def test_administrator_is_held_to_the_same_rules(email: str, password: str, fault: str) -> None:
    result = run("users", "create-admin", email, given=f"{password}\n")

    assert result.exit_code == 1
    assert fault in result.output


@pytest.mark.usefixtures("database")
def test_users_are_promoted_demoted_closed_and_listed() -> None:
    for email in ("root@example.com", "second@example.com"):
        run("users", "create-admin", email, given=f"{PASSWORD}\n")

    results = [
        run("users", "demote", "Second@example.com"),
        run("users", "deactivate", "second@example.com"),
    ]

    assert [result.exit_code for result in results] == [0, 0]
    second, root = run("users", "list").output.splitlines()
    assert second.endswith("  user  closed  unverified  second@example.com")
    assert root.endswith("  admin  active  unverified  root@example.com")
    assert run("users", "promote", "second@example.com").exit_code == 0
    assert "  admin  closed  " in run("users", "list", "--limit=1").output


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("command", ["demote", "deactivate"])
def test_last_administrator_stays_one(command: str) -> None:
    run("users", "create-admin", "root@example.com", given=f"{PASSWORD}\n")

    result = run("users", command, "root@example.com")

    assert result.exit_code == 1
    assert result.output == "The last administrator has to stay one.\n"


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("command", ["promote", "demote", "deactivate", "set-password"])
def test_unknown_user_is_told_of_in_one_line(command: str) -> None:
    result = run("users", command, "nobody@example.com", given=f"{PASSWORD}\n")

    assert result.exit_code == 1
    assert result.output == "There is no user nobody@example.com.\n"


@pytest.mark.usefixtures("database")
def test_password_is_set() -> None:
    run("users", "create-admin", "root@example.com", given=f"{PASSWORD}\n")

    short = run("users", "set-password", "root@example.com", given="short\n")
    result = run("users", "set-password", "root@example.com", given="another horse, a battery\n")

    assert short.exit_code == 1
    assert result.exit_code == 0
    assert "another horse" not in result.output


def test_database_that_cannot_be_opened_is_told_of_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = Settings(database_url=SecretStr(f"sqlite+aiosqlite:///{tmp_path}/none/app.db"))
    monkeypatch.setattr(users, "get_settings", lambda: settings)

    result = run("users", "create-admin", "root@example.com", given=f"{PASSWORD}\n")

    assert result.exit_code == 1
    assert result.output == "The database does not answer.\n"


@pytest.mark.usefixtures("database")
def test_nothing_to_purge() -> None:
    result = run("purge")

    assert result.exit_code == 0
    assert result.output == "Deleted 0 expired sessions and 0 unverified accounts.\n"


@pytest.mark.parametrize("arguments", [("purge",), ("users", "create-admin", "root@example.com")])
def test_database_without_tables_is_told_of_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    settings = Settings(database_url=SecretStr(f"sqlite+aiosqlite:///{tmp_path}/app.db"))
    configure(monkeypatch, settings)

    result = run(*arguments, given=f"{PASSWORD}\n")

    assert result.exit_code == 1
    assert result.output.startswith("no such table: ")
    assert len(result.output.splitlines()) == 1
