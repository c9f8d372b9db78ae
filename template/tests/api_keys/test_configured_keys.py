"""API keys in the settings, and the pepper of their digests."""

import json
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from app.core.settings.api_keys_from_settings import ApiKeyListSettings, ConfiguredKey, find

_DIGEST = "0123456789abcdef" * 4


def test_digest_alone_has_every_scope_and_no_end() -> None:
    key = ConfiguredKey.parse(_DIGEST)

    assert key == ConfiguredKey(_DIGEST, frozenset({"items:read", "items:write"}), None)


def test_entry_is_read_as_it_was_written() -> None:
    key = ConfiguredKey(_DIGEST, frozenset({"items:read"}), datetime(2030, 1, 2, 3, tzinfo=UTC))

    assert str(key) == f"{_DIGEST}/items:read/2030-01-02T03:00:00Z"
    assert ConfiguredKey.parse(str(key)) == key


def test_expiry_can_be_a_date() -> None:
    key = ConfiguredKey.parse(f"{_DIGEST}/items:read/2030-12-31")

    assert key.expires_at == datetime(2030, 12, 31, tzinfo=UTC)


@pytest.mark.parametrize("write", [",".join, json.dumps], ids=["commas", "json"])
def test_entries_are_listed_as_text_or_json(write: object) -> None:
    assert callable(write)
    entries = [_DIGEST, f"{_DIGEST[::-1]}/items:write"]

    keys = ApiKeyListSettings(api_keys=write(entries)).api_keys

    assert [str(key).partition("/")[0] for key in keys] == [_DIGEST, _DIGEST[::-1]]


@pytest.mark.parametrize(
    "entry",
    [
        "x",
        _DIGEST.upper(),
        f"{_DIGEST}/items:delete",
        f"{_DIGEST}/items:read/soon",
        "[",
        "[1]",
        "[" * 100_000,
    ],
)
def test_what_is_no_entry_is_refused(entry: str) -> None:
    with pytest.raises(ValidationError):
        ApiKeyListSettings.model_validate({"api_keys": entry})


def test_expired_key_is_not_found() -> None:
    key = ConfiguredKey(_DIGEST, frozenset(), datetime(2020, 1, 1, tzinfo=UTC))

    assert find((key,), _DIGEST) is None
