"""Passwords: which are refused, and how they are kept.

NIST SP 800-63B, section 3.1.1: long, any Unicode, none of the commonest, no rules of composition.
"""

import asyncio
import secrets
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Final

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

# Characters. The upper bound keeps anyone from making us hash whole books.
MIN_LENGTH: Final = 12
MAX_LENGTH: Final = 128

# Argon2id with 64 MiB and three passes; a hash made with other parameters is renewed when its owner
# logs in. One lane: four hashes of four lanes each would be sixteen threads against the event loop.
_hasher = PasswordHash([Argon2Hasher(parallelism=1)])
# Off the event loop, and few at once: each takes 64 MiB while it is made.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="password")
# Compared with when there is no account, so that refusing takes as long.
_DUMMY_HASH: Final = _hasher.hash(secrets.token_urlsafe())


@cache
def _commonest() -> frozenset[str]:
    # From the lists of zxcvbn and Django: those with 12 characters or more, and shorter ones made
    # longer in the usual ways.
    path = Path(__file__).with_name("common_passwords.txt")
    return frozenset(path.read_text(encoding="utf-8").splitlines())


def is_common(password: str) -> bool:
    """Tell whether it is one that attackers try first; case is ignored."""
    return normalized(password).casefold() in _commonest()


async def hash_password(password: str) -> str:
    """Return the hash to keep."""
    return await asyncio.get_running_loop().run_in_executor(
        _threads, _hasher.hash, normalized(password)
    )


async def verify_password(password: str, hashed: str | None) -> tuple[bool, str | None]:
    """Tell whether the hash is of this password, and return the hash to keep from now on.

    The second value is None unless the password is right. Without a hash the answer is no, after
    the same time.
    """
    is_right, renewed = await asyncio.get_running_loop().run_in_executor(
        _threads, _hasher.verify_and_update, normalized(password), hashed or _DUMMY_HASH
    )
    if hashed is None or not is_right:
        return False, None
    return True, renewed or hashed


def normalized(password: str) -> str:
    """Return the same text however a keyboard composed its characters."""
    return unicodedata.normalize("NFKC", password)
