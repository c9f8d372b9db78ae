"""API keys: how they are made, and what is kept of them."""

import errno
import hashlib
import hmac
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

_KEY = re.compile(r"(ak[0-9a-f]{10})_[A-Za-z0-9_-]{43}")
# A key that nobody has, checked in place of what is not a key: refusing takes the same work.
_NOBODY: Final = f"ak{'0' * 10}_{'0' * 43}"
DEVELOPMENT_PEPPER: Final = Path(".keys/api_key_pepper")
MIN_PEPPER_LENGTH: Final = 32


def new_key() -> str:
    """Return `<prefix>_<secret>`: the prefix names the key, the secret has 256 bits."""
    return f"ak{secrets.token_hex(5)}_{secrets.token_urlsafe(32)}"


def well_formed(presented: list[str]) -> str:
    """Return the one key that was presented, or a key that nobody has."""
    return presented[0] if len(presented) == 1 and _KEY.fullmatch(presented[0]) else _NOBODY


def digest_of(key: str, pepper: str) -> str:
    """Return what is kept of a key.

    HMAC-SHA256: a secret of 256 bits cannot be guessed, so a slow hash would protect nothing more.
    The pepper is kept apart from the digests: whoever can write digests still cannot make a key.
    """
    return hmac.digest(pepper.encode(), key.encode(), hashlib.sha256).hex()


def default_pepper(environment: str) -> str:
    """Return the pepper where none is set: in development, one made at the first start.

    Deployed services have none.
    """
    if environment == "test":
        return "0" * MIN_PEPPER_LENGTH
    return _development_pepper(DEVELOPMENT_PEPPER) if environment == "development" else ""


def _development_pepper(path: Path) -> str:
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        # A link appears at once and whole, or not at all: of several processes, one wins.
        with NamedTemporaryFile(dir=path.parent) as file, suppress(FileExistsError):
            file.write(secrets.token_hex(MIN_PEPPER_LENGTH).encode())
            file.flush()
            os.link(file.name, path)
    pepper = path.read_text(encoding="ascii", errors="ignore")
    if len(pepper) < MIN_PEPPER_LENGTH:
        raise OSError(errno.EINVAL, "is not a pepper; delete it, and a new one is made", str(path))
    return pepper
