"""The RSA keys that tokens are signed with."""

import base64
import binascii
import os
import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final, Protocol

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import KeySet, RSAKey

ALGORITHM: Final = "RS256"
# Bits. RFC 7518 section 3.3 asks for 2048 or more.
MIN_BITS: Final = 2048
NEW_KEY_BITS: Final = 3072
DEVELOPMENT_KEY: Final = Path(".keys/private.pem")

# What becomes of text that is not a key.
_MALFORMED: Final = (JoseError, ValueError, TypeError)


@dataclass(frozen=True)
class Keys:
    """The key that signs, and all whose signatures are accepted."""

    signing: RSAKey
    accepted: KeySet


class KeySettings(Protocol):
    """The settings about keys."""

    @property
    def environment(self) -> str:
        """Where the process runs."""

    @property
    def rsa_private_key(self) -> bytes | None:
        """The PEM of the key that signs."""

    @property
    def rsa_retired_key(self) -> bytes | None:
        """The PEM of the key that signed before."""


def load_keys(settings: KeySettings) -> Keys:
    """Return the keys of the settings; in development and tests, one is made where none is set."""
    pem = settings.rsa_private_key
    if pem is None:
        in_test = settings.environment == "test"
        pem = _temporary_key() if in_test else _development_key(DEVELOPMENT_KEY)
    signing = parse_key(pem, private=True)
    pems = [pem] if settings.rsa_retired_key is None else [pem, settings.rsa_retired_key]
    return Keys(signing, KeySet([_public(parse_key(pem, private=False)) for pem in pems]))


# To check the numbers of a key takes longer than any request.
@cache
def parse_key(pem: bytes, *, private: bool) -> RSAKey:
    """Return the key.

    Raises:
        ValueError: it is not an RSA key in PEM, is too short, or lacks its private half.
    """
    try:
        with warnings.catch_warnings():
            # It warns of short keys, which are refused below.
            warnings.simplefilter("ignore", SecurityWarning)
            key = RSAKey.import_key(pem)
    except _MALFORMED:
        raise ValueError("is not an RSA key in PEM without a passphrase") from None
    if private and not key.is_private:
        raise ValueError("is a public key: the private one is needed")
    bits = key.public_key.key_size
    if bits < MIN_BITS:
        raise ValueError(f"is a key of {bits} bits: {MIN_BITS} is the least")
    return key


def read_key(content: str, path: Path | None) -> bytes | None:
    """Return the PEM given as base64 or, without it, that of the file; nothing when neither is.

    Raises:
        ValueError: the text is not base64, or the file cannot be read.
    """
    if content:
        try:
            return base64.b64decode(content, validate=True)
        except binascii.Error:
            raise ValueError("is not base64 of a PEM") from None
    if path:
        try:
            return path.read_bytes()
        except OSError as error:
            raise ValueError(f"names a file that cannot be read: {error.strerror}") from None
    return None


def generate_key() -> tuple[bytes, bytes]:
    """Make a pair, and return its private and its public half in PEM."""
    key = RSAKey.generate_key(NEW_KEY_BITS)
    return key.as_pem(private=True), key.as_pem(private=False)


def write_private_key(path: Path, pem: bytes) -> None:
    """Write the key to a new file that only its owner can read.

    Raises:
        FileExistsError: there is such a file, which stays as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A link appears at once and whole, or not at all: of several processes, one wins.
    with NamedTemporaryFile(dir=path.parent) as file:
        file.write(pem)
        file.flush()
        os.link(file.name, path)


def _public(key: RSAKey) -> RSAKey:
    """Return the public half, named by its thumbprint (RFC 7638)."""
    parameters = {"kid": key.thumbprint(), "use": "sig", "alg": ALGORITHM}
    return RSAKey.import_key({**key.as_dict(private=False), **parameters})


def _development_key(path: Path) -> bytes:
    if not path.exists():
        private, _ = generate_key()
        with suppress(FileExistsError):
            write_private_key(path, private)
    return path.read_bytes()


@cache
def _temporary_key() -> bytes:
    return RSAKey.generate_key(MIN_BITS).as_pem(private=True)
