"""What is kept of API keys, and the pepper that it takes."""

import stat
from pathlib import Path

import pytest

from app.core.security.api_keys import choose_pepper, digest_of, new_key, well_formed


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

    made = choose_pepper("", "development")

    [file] = Path(".keys").iterdir()
    assert choose_pepper("", "development") == made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_nothing_is_made_up_where_others_depend_on_it(environment: str) -> None:
    with pytest.raises(ValueError, match="is missing"):
        choose_pepper("", environment)


def test_pepper_that_is_given_is_taken() -> None:
    assert choose_pepper("p" * 32, "production") == "p" * 32


def test_short_pepper_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32"):
        choose_pepper("short", "development")
