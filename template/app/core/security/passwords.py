"""Password rules and password hashing.

NIST SP 800-63B, section 3.1.1: long, any Unicode, no common passwords, no composition rules.
"""

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from app.core.errors import UnavailableError
from app.core.settings.auth import AuthSettings

_Result = TypeVar("_Result")

# Characters. The upper bound limits the work of hashing one password.
MIN_LENGTH: Final = 12
MAX_LENGTH: Final = 128

# Passwords in the queue or being hashed. The last of them waits for about two seconds.
MAX_PENDING: Final = 32


class _Hasher(PasswordHash):
    """Argon2id at one cost. A hash of another cost is replaced when the user logs in."""

    def __init__(self, time_cost: int, memory_kib: int) -> None:
        # One lane: four hashes of four lanes each would compete with the event loop as 16 threads.
        super().__init__([Argon2Hasher(time_cost, memory_kib, parallelism=1)])
        # Dummy hash, verified when there is no account, so that rejection takes the same time.
        self.dummy_hash = self.hash(secrets.token_urlsafe())


@cache
def get_hasher(time_cost: int, memory_kib: int) -> _Hasher:
    """Return the process's hasher of this cost."""
    return _Hasher(time_cost, memory_kib)


class BusyError(UnavailableError):
    """Too many passwords wait to be hashed."""

    def __init__(self) -> None:
        super().__init__("Too many passwords wait to be hashed.")


class _Hashing:
    """Hashes passwords in threads, only a few at once: each hash takes 64 MiB.

    The queue is bounded. Work that is cancelled in the queue is skipped.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="password")
        self._pending = 0

    async def run(self, work: Callable[..., _Result], *arguments: str) -> _Result:
        if self._pending >= MAX_PENDING:
            raise BusyError
        self._pending += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, work, *arguments)
        finally:
            self._pending -= 1


_hashing = _Hashing()


@cache
def _commonest() -> frozenset[str]:
    # From the lists of zxcvbn and Django: passwords of 12 characters or more, and shorter ones
    # extended in the usual ways.
    path = Path(__file__).with_name("common_passwords.txt")
    return frozenset(path.read_text(encoding="utf-8").splitlines())


def is_common(password: str) -> bool:
    """Return whether the password is a common one, ignoring case."""
    return normalized(password).casefold() in _commonest()


async def hash_password(password: str, settings: AuthSettings) -> str:
    """Return the hash to store.

    Raises:
        BusyError: too many passwords wait already.
    """
    hasher = get_hasher(*settings.password_hash_cost)
    return await _hashing.run(hasher.hash, normalized(password))


async def verify_password(
    password: str, hashed: str | None, settings: AuthSettings
) -> tuple[bool, str | None]:
    """Return whether the password matches the hash, and the hash to store from now on.

    The second value is None unless the password matches. Without a hash, the password never
    matches, and the check takes the same time.

    Raises:
        BusyError: too many passwords wait already.
    """
    hasher = get_hasher(*settings.password_hash_cost)
    is_right, renewed = await _hashing.run(
        hasher.verify_and_update, normalized(password), hashed or hasher.dummy_hash
    )
    if hashed is None or not is_right:
        return False, None
    return True, renewed or hashed


def normalized(password: str) -> str:
    """Return the normal form, so that each way of typing an accent gives the same text."""
    return unicodedata.normalize("NFKC", password)
