"""Keys made and listed from the command line."""

import re

import pytest
from typer.testing import CliRunner

from app.cli import api_keys_from_settings
from app.cli.main import cli
from app.core.security.api_keys import digest_of, new_key
from app.core.settings import Settings, get_settings
from app.core.settings.api_keys_from_settings import ConfiguredKey


def run(*arguments: str, exit_code: int = 0) -> str:
    """Return what the command prints."""
    result = CliRunner().invoke(cli, ["api-keys", *arguments])
    assert result.exit_code == exit_code, result.output
    return result.output


def _configure(monkeypatch: pytest.MonkeyPatch, *keys: ConfiguredKey) -> None:
    settings = Settings(api_keys=keys)
    monkeypatch.setattr(api_keys_from_settings, "get_settings", lambda: settings)


def test_created_key_is_printed_with_its_entry() -> None:
    output = run("create", "--scope=items:read", "--expires-in-days=30")

    printed = dict(re.findall(r"^(.*?): +(.*)$", output, re.MULTILINE))
    entry = ConfiguredKey.parse(printed["Entry of API_KEYS"])
    pepper = get_settings().api_key_pepper.get_secret_value()
    assert entry.digest == printed["Digest"] == digest_of(printed["Key, shown only now"], pepper)
    assert entry.scopes == {"items:read"}
    assert entry.expires_at is not None


def test_key_may_do_everything_unless_told() -> None:
    assert "items:read+items:write\n" in run("create")


def test_unknown_scope_is_refused() -> None:
    assert "items:delete" in run("create", "--scope=items:delete", exit_code=2)


def test_keys_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    key = ConfiguredKey.parse("a" * 64)
    _configure(monkeypatch, key)

    assert run("list") == f"{key}\n"


def test_setting_without_the_revoked_key_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    _configure(monkeypatch, *(ConfiguredKey.parse(letter * 64) for letter in "abc"))

    output = run("revoke", "b")

    assert output == f"API_KEYS={ConfiguredKey.parse('a' * 64)},{ConfiguredKey.parse('c' * 64)}\n"


def test_key_revokes_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, key = get_settings(), new_key()
    digest = digest_of(key, settings.api_key_pepper.get_secret_value())
    kept = ConfiguredKey.parse("c" * 64)
    _configure(monkeypatch, ConfiguredKey.parse(digest), kept)

    assert run("revoke", key) == f"API_KEYS={kept}\n"


def test_key_that_is_not_there_cannot_be_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    _configure(monkeypatch)
    key = new_key()

    output = run("revoke", key, exit_code=1)

    assert "0 keys" in output
    assert key not in output
