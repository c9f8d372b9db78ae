"""RSA keys in settings: PEM, as base64 or in a file."""

import base64
import binascii
import warnings
from functools import cache
from pathlib import Path
from typing import Final

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import RSAKey

# Bits. RFC 7518 section 3.3 asks for 2048 or more.
MIN_BITS: Final = 2048

# Errors of the library for text that is not a key.
_MALFORMED: Final = (JoseError, ValueError, TypeError)


# Checking an RSA key is slow, so each key is checked once.
@cache
def parse_key(pem: bytes, *, private: bool) -> RSAKey:
    """Return the key.

    Raises:
        ValueError: the text is not a private RSA key in PEM, or the key is too short.
    """
    try:
        with warnings.catch_warnings():
            # The library warns about short keys; they are rejected below.
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
    """Return the PEM given as base64, or else the content of the file; empty if neither is set.

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
            raise ValueError(f"cannot be read: {error.strerror}") from None
    return None
