"""API keys in the settings: entries, digests, the pepper, and the commands about them."""

import json
import re
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from typer.testing import CliRunner

from app.__main__ import cli
from app.api_keys import digest_of, find_key, new_key
from app.settings import ApiKey, Settings

DIGEST = "0123456789abcdef" * 4


def test_digest_depends_on_the_pepper() -> None:
    key = new_key()

    one, other = (
        digest_of(key, Settings(api_key_pepper=SecretStr(letter * 32))) for letter in "ab"
    )

    assert one != other


def test_new_key_has_a_prefix_and_256_bits() -> None:
    prefix, _, secret = new_key().partition("_")

    assert len(prefix) == 12
    assert len(secret) == 43  # 256 bits, 6 in each character


def test_expired_key_is_not_found() -> None:
    settings, key = Settings(), new_key()
    entry = ApiKey(digest_of(key, settings), frozenset(), datetime(2020, 1, 1, tzinfo=UTC))

    assert find_key([key], settings.model_copy(update={"api_keys": (entry,)})) is None


def test_entry_with_a_digest_alone_has_every_scope_and_does_not_expire() -> None:
    assert ApiKey.parse(DIGEST) == ApiKey(DIGEST, frozenset({"items:read", "items:write"}), None)


def test_entry_is_read_as_it_was_written() -> None:
    key = ApiKey(DIGEST, frozenset({"items:read"}), datetime(2030, 1, 2, 3, tzinfo=UTC))

    assert str(key) == f"{DIGEST}/items:read/2030-01-02T03:00:00Z"
    assert ApiKey.parse(str(key)) == key


def test_expiry_can_be_a_date() -> None:
    key = ApiKey.parse(f"{DIGEST}/items:read/2030-12-31")

    assert key.expires_at == datetime(2030, 12, 31, tzinfo=UTC)


@pytest.mark.parametrize("write", [",".join, json.dumps], ids=["commas", "json"])
def test_entries_are_text_or_json(
    monkeypatch: pytest.MonkeyPatch, write: Callable[[list[str]], str]
) -> None:
    monkeypatch.setenv("API_KEYS", write([DIGEST, f"{DIGEST[::-1]}/items:write"]))

    assert [key.digest for key in Settings().api_keys] == [DIGEST, DIGEST[::-1]]


@pytest.mark.parametrize(
    "entry",
    [
        "x",
        DIGEST.upper(),
        f"{DIGEST}/items:delete",
        f"{DIGEST}/items:read/soon",
        "[",
        "[1]",
        "[" * 100_000,
    ],
    ids=lambda entry: entry[:12],
)
def test_invalid_entry_is_refused(monkeypatch: pytest.MonkeyPatch, entry: str) -> None:
    monkeypatch.setenv("API_KEYS", entry)

    with pytest.raises(ValidationError):
        Settings()


def test_pepper_of_development_is_made_once_and_readable_by_its_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    one, other = (Settings(environment="development").api_key_pepper for _ in range(2))

    [file] = Path(".keys").iterdir()
    assert one.get_secret_value() == other.get_secret_value() == file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 64, None])
def test_file_that_is_not_a_pepper_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENVIRONMENT", "development")
    file = Path(".keys/api_key_pepper")
    file.parent.mkdir()
    file.mkdir() if content is None else file.write_bytes(content)

    with pytest.raises(SystemExit, match="3"):
        Settings.load()

    fault = "Is a directory" if content is None else "is not a pepper"
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{file}: {fault}")


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_no_pepper_is_made_up_when_deployed(
    monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    monkeypatch.setenv("ENVIRONMENT", environment)

    with pytest.raises(ValidationError, match="is missing"):
        Settings()


def test_short_pepper_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 32"):
        Settings(api_key_pepper=SecretStr("short"))


@pytest.mark.parametrize("limit", ["often", "0/minute", "10/minute;20/hour", f"1 per {10**30} day"])
def test_invalid_rate_limit_is_refused(limit: str) -> None:
    with pytest.raises(ValidationError, match="as in 10/minute"):
        Settings(rate_limit_api_key=limit)


def run(*arguments: str, exit_code: int = 0) -> str:
    """Return the output of a command about API keys."""
    result = CliRunner().invoke(cli, ["api-keys", *arguments])
    assert result.exit_code == exit_code, result.output
    return result.output


def configure(monkeypatch: pytest.MonkeyPatch, *keys: ApiKey) -> None:
    monkeypatch.setenv("API_KEYS", ",".join(str(key) for key in keys))


def test_created_key_is_printed_with_its_entry() -> None:
    output = run("create", "--scope=items:read", "--expires-in-days=30")

    printed = dict(re.findall(r"^(.*?): +(.*)$", output, re.MULTILINE))
    entry = ApiKey.parse(printed["Entry of API_KEYS"])
    key = printed["Key, shown only now"]
    assert entry.digest == printed["Digest"] == digest_of(key, Settings())
    assert entry.scopes == {"items:read"}
    assert entry.expires_at is not None


def test_created_key_has_every_scope_by_default() -> None:
    assert "items:read+items:write\n" in run("create")


def test_unknown_scope_is_refused() -> None:
    assert "items:delete" in run("create", "--scope=items:delete", exit_code=2)


def test_keys_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    key = ApiKey.parse(DIGEST)
    configure(monkeypatch, key)

    assert run("list") == f"{key}\n"


def test_revoking_prints_the_setting_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = (ApiKey.parse(letter * 64) for letter in "abc")
    configure(monkeypatch, a, b, c)

    assert run("revoke", "b") == f"API_KEYS={a},{c}\n"


def test_key_can_be_revoked_by_the_key_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    key, kept = new_key(), ApiKey.parse("c" * 64)
    configure(monkeypatch, ApiKey.parse(digest_of(key, Settings())), kept)

    assert run("revoke", key) == f"API_KEYS={kept}\n"


def test_unknown_key_is_not_revoked_and_not_printed() -> None:
    key = new_key()

    output = run("revoke", key, exit_code=1)

    assert "0 entries" in output
    assert key not in output
