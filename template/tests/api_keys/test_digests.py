"""What is kept of API keys, and the pepper that it takes."""

import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.core.security.api_keys import (
    DEVELOPMENT_PEPPER,
    default_pepper,
    digest_of,
    new_key,
    well_formed,
)
from app.core.settings import Environment, Settings


def test_digest_depends_on_the_pepper() -> None:
    key = new_key()

    assert digest_of(key, "a" * 32) != digest_of(key, "b" * 32)


def test_new_key_has_a_prefix_and_256_bits() -> None:
    prefix, _, secret = new_key().partition("_")

    assert len(prefix) == 12
    assert len(secret) == 43  # 256 bits, 6 in each character


def test_what_is_not_one_key_is_a_key_that_nobody_has() -> None:
    key = new_key()

    nobody = well_formed([])

    assert well_formed([key]) == key
    assert {well_formed(["x"]), well_formed([key, key]), well_formed([f"{key}\n"])} == {nobody}


def test_pepper_of_development_is_made_once_and_kept_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    made = default_pepper("development")

    [file] = Path(".keys").iterdir()
    assert default_pepper("development") == made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 64, None])
def test_file_that_is_not_a_pepper_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    monkeypatch.chdir(tmp_path)
    DEVELOPMENT_PEPPER.parent.mkdir()
    if content is None:
        DEVELOPMENT_PEPPER.mkdir()
    else:
        DEVELOPMENT_PEPPER.write_bytes(content)

    with pytest.raises(OSError, match=r"directory|is not a pepper") as refused:
        Settings(environment=Environment.DEVELOPMENT)

    assert refused.value.filename == str(DEVELOPMENT_PEPPER)


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_nothing_is_made_up_where_others_depend_on_it(environment: str) -> None:
    assert "is missing" in pepper_fault(environment=environment)
    assert "is missing" not in pepper_fault(environment=environment, api_key_pepper="p" * 32)


def test_short_pepper_is_refused() -> None:
    assert "at least 32" in pepper_fault(api_key_pepper="short")


def pepper_fault(**values: str) -> str:
    """Return the message about the pepper; nothing when it is accepted."""
    try:
        Settings.model_validate(values)
    except ValidationError as error:
        messages = {str(fault["loc"][0]): fault["msg"] for fault in error.errors()}
        return messages.get("api_key_pepper", "")
    return ""
