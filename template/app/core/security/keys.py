"""The RSA keys that tokens are signed with."""

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from joserfc.jwk import KeySet, RSAKey

from app.core.security.pem import MIN_BITS, parse_key
from app.core.settings import Environment, Settings, stop

ALGORITHM: Final = "RS256"
# Bits.
NEW_KEY_BITS: Final = 3072
DEVELOPMENT_KEY: Final = Path(".keys/private.pem")


@dataclass(frozen=True)
class Keys:
    """The signing key, and all keys whose signatures are accepted."""

    signing: RSAKey
    accepted: KeySet


def load_keys(settings: Settings) -> Keys:
    """Return the configured keys; in development and tests, generate one if none is set."""
    pem = settings.rsa_private_key
    if pem is None:
        in_test = settings.environment is Environment.TEST
        pem = _temporary_key() if in_test else _development_key(DEVELOPMENT_KEY)
    signing = parse_key(pem, private=True)
    pems = filter(None, [pem, settings.rsa_retired_key, settings.rsa_next_key])
    return Keys(signing, KeySet([_public(parse_key(pem, private=False)) for pem in pems]))


def generate_key() -> tuple[bytes, bytes]:
    """Generate a key pair, and return the private and the public key in PEM."""
    key = RSAKey.generate_key(NEW_KEY_BITS)
    return key.as_pem(private=True), key.as_pem(private=False)


def write_private_key(path: Path, pem: bytes) -> None:
    """Write the key to a new file that only its owner can read.

    Raises:
        FileExistsError: the file exists; it is not changed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Creating a link is atomic: if several processes start at once, one of them wins.
    with NamedTemporaryFile(dir=path.parent) as file:
        file.write(pem)
        file.flush()
        os.link(file.name, path)


def _public(key: RSAKey) -> RSAKey:
    """Return the public key, with its thumbprint (RFC 7638) as key id."""
    parameters = {"kid": key.thumbprint(), "use": "sig", "alg": ALGORITHM}
    return RSAKey.import_key({**key.as_dict(private=False), **parameters})


def _development_key(path: Path) -> bytes:
    if not path.exists():
        private, _ = generate_key()
        with suppress(FileExistsError):
            write_private_key(path, private)
    try:
        pem = path.read_bytes()
        parse_key(pem, private=True)
    except OSError as error:
        stop(f"{path}: {error.strerror}")
    except ValueError as error:
        stop(f"{path}: {error}; delete it, and a new one is made")
    return pem


@cache
def _temporary_key() -> bytes:
    return RSAKey.generate_key(MIN_BITS).as_pem(private=True)
