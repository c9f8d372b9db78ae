"""Generation and hashing of API keys."""

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
# Dummy key, verified when the input is malformed, so that rejection takes the same time.
_NOBODY: Final = f"ak{'0' * 10}_{'0' * 43}"
DEVELOPMENT_PEPPER: Final = Path(".keys/api_key_pepper")
MIN_PEPPER_LENGTH: Final = 32


def new_key() -> str:
    """Return `<prefix>_<secret>`: the prefix names the key, the secret has 256 bits."""
    return f"ak{secrets.token_hex(5)}_{secrets.token_urlsafe(32)}"


def well_formed(presented: list[str]) -> str:
    """Return the key if exactly one, well-formed, was presented; otherwise the dummy key."""
    return presented[0] if len(presented) == 1 and _KEY.fullmatch(presented[0]) else _NOBODY


def digest_of(key: str, pepper: str) -> str:
    """Return the digest of a key, which is stored in its place.

    HMAC-SHA256: a secret of 256 bits cannot be guessed, so a slow hash would add no protection.
    The pepper is stored apart from the digests: write access to them is not enough to forge a key.
    """
    return hmac.digest(pepper.encode(), key.encode(), hashlib.sha256).hex()


def default_pepper(environment: str) -> str:
    """Return the pepper if none is set: in development, one generated at the first start.

    Deployed services have none.
    """
    if environment == "test":
        return "0" * MIN_PEPPER_LENGTH
    return _development_pepper(DEVELOPMENT_PEPPER) if environment == "development" else ""


def _development_pepper(path: Path) -> str:
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        # Creating a link is atomic: if several processes start at once, one of them wins.
        with NamedTemporaryFile(dir=path.parent) as file, suppress(FileExistsError):
            file.write(secrets.token_hex(MIN_PEPPER_LENGTH).encode())
            file.flush()
            os.link(file.name, path)
    pepper = path.read_text(encoding="ascii", errors="ignore")
    if len(pepper) < MIN_PEPPER_LENGTH:
        raise OSError(errno.EINVAL, "is not a pepper; delete it, and a new one is made", str(path))
    return pepper
