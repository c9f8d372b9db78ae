"""RSA keys as they are configured: in PEM, as base64 or in a file."""

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

# What the library raises over text that is not a key.
_MALFORMED: Final = (JoseError, ValueError, TypeError)


# Checking an RSA key is slow: each key once.
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
            raise ValueError(f"cannot be read: {error.strerror}") from None
    return None
