"""The keys that tokens are signed with."""

import base64
import json
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise, product
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fastapi import FastAPI
from httpx import AsyncClient
from joserfc.jwk import ECKey, RSAKey
from pydantic import SecretStr, ValidationError

from app.core.security.keys import DEVELOPMENT_KEY, Keys, load_keys, write_private_key
from app.core.security.pem import MIN_BITS, read_key
from app.core.security.tokens import InvalidTokenError, Tokens, TokenType
from app.core.settings import START_FAILED, Environment, Settings

KEY = RSAKey.generate_key(MIN_BITS)
PRIVATE = KEY.as_pem(private=True)
PUBLIC = KEY.as_pem(private=False)
SHORT = generate_private_key(65537, 1024).private_bytes(  # noqa: S505, it is to be refused
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
)


def content(pem: bytes) -> SecretStr:
    return SecretStr(base64.b64encode(pem).decode())


def faults(**values: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as error:
        Settings(**values)
    return {str(fault["loc"][0]): fault["msg"] for fault in error.value.errors()}


async def test_public_keys_are_published_without_private_members(anonymous: AsyncClient) -> None:
    response = await anonymous.get("/.well-known/jwks.json")

    (key,) = response.json()["keys"]
    assert response.status_code == 200
    assert set(key) == {"kty", "n", "e", "kid", "use", "alg"}
    assert (key["kty"], key["use"], key["alg"]) == ("RSA", "sig", "RS256")


async def test_key_is_named_by_its_thumbprint(anonymous: AsyncClient) -> None:
    (key,) = (await anonymous.get("/.well-known/jwks.json")).json()["keys"]

    assert RSAKey.import_key(key).thumbprint() == key["kid"]


def test_key_is_read_from_the_environment() -> None:
    keys = load_keys(Settings(rsa_private_key_content=content(PRIVATE)))

    assert keys.signing.thumbprint() == KEY.thumbprint()


def test_key_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "private.pem"
    path.write_bytes(PRIVATE)

    keys = load_keys(Settings(rsa_private_key_path=path))

    assert keys.signing.thumbprint() == KEY.thumbprint()


def test_rotation_ends_no_session() -> None:
    old = Settings(rsa_private_key_content=content(PRIVATE))
    new = Settings(
        rsa_private_key_content=content(RSAKey.generate_key(MIN_BITS).as_pem(private=True)),
        rsa_retired_key_content=content(PUBLIC),
    )
    before, after = (Tokens(settings, load_keys(settings)) for settings in (old, new))

    token = issued_by(before)

    assert after.read(token, TokenType.ACCESS) == before.read(token, TokenType.ACCESS)
    assert len(after.key_set["keys"]) == 2
    assert kid_of(issued_by(after)) != kid_of(token) == KEY.thumbprint()


def test_no_instance_refuses_the_tokens_of_another_during_a_rotation() -> None:
    new = RSAKey.generate_key(MIN_BITS)
    new_private, new_public = new.as_pem(private=True), new.as_pem(private=False)
    stages = [
        Settings(rsa_private_key_content=content(PRIVATE)),
        Settings(
            rsa_private_key_content=content(PRIVATE), rsa_next_key_content=content(new_public)
        ),
        Settings(
            rsa_private_key_content=content(new_private), rsa_retired_key_content=content(PUBLIC)
        ),
    ]
    instances = [Tokens(settings, load_keys(settings)) for settings in stages]

    # Each deployment has instances of two stages side by side.
    for before, after in pairwise(instances):
        for signing, reading in product((before, after), repeat=2):
            reading.read(issued_by(signing), TokenType.ACCESS)
    assert kid_of(issued_by(instances[1])) == KEY.thumbprint()
    assert kid_of(issued_by(instances[2])) == new.thumbprint()


def test_key_that_is_gone_is_accepted_no_more() -> None:
    old = Settings(rsa_private_key_content=content(PRIVATE))
    token = issued_by(Tokens(old, load_keys(old)))
    new = Settings()

    with pytest.raises(InvalidTokenError):
        Tokens(new, load_keys(new)).read(token, TokenType.ACCESS)


def issued_by(tokens: Tokens) -> str:
    return tokens.issue(TokenType.ACCESS, uuid4(), timedelta(minutes=1), sid=str(uuid4()))


def kid_of(token: str) -> str:
    header, _, _ = token.partition(".")
    kid: str = json.loads(base64.urlsafe_b64decode(header + "=="))["kid"]
    return kid


# ── Keys that are refused ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_deployed_service_needs_a_key(environment: str) -> None:
    found = faults(environment=environment, allowed_hosts=["api.example.com"])

    assert "is missing" in found["rsa_private_key_content"]


REFUSED = {
    "not base64": SecretStr("hunter2!"),
    "not PEM": content(b"hunter2"),
    "public": content(PUBLIC),
    "too short": content(SHORT),
    "another kind": content(ECKey.generate_key("P-256").as_pem(private=True)),
    "with a passphrase": content(KEY.as_pem(private=True, password="hunter2")),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_unfit_key_is_refused_without_being_repeated(kind: str) -> None:
    found = faults(rsa_private_key_content=REFUSED[kind])

    assert set(found) == {"rsa_private_key_content"}
    assert "hunter2" not in str(found)
    assert REFUSED[kind].get_secret_value() not in str(found)


def test_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    found = faults(rsa_private_key_path=tmp_path / "nothing.pem")

    assert "cannot be read" in found["rsa_private_key_path"]


def test_unfit_retired_key_is_refused() -> None:
    assert set(faults(rsa_retired_key_content=content(b"x"))) == {"rsa_retired_key_content"}


# ── The key of development ───────────────────────────────────────────────────────────────────────


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, which the process is in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def development_keys() -> Keys:
    return load_keys(Settings().model_copy(update={"environment": Environment.DEVELOPMENT}))


def test_development_makes_its_own_key_once(project: Path) -> None:
    first, second = development_keys(), development_keys()

    assert first.signing.thumbprint() == second.signing.thumbprint()
    assert [path.name for path in (project / DEVELOPMENT_KEY).parent.iterdir()] == ["private.pem"]


def test_only_its_owner_can_read_the_key_of_development(project: Path) -> None:
    development_keys()

    assert stat.S_IMODE((project / DEVELOPMENT_KEY).stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"x", None])
def test_file_that_is_not_a_key_is_named(
    project: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    file = project / DEVELOPMENT_KEY
    file.parent.mkdir()
    file.mkdir() if content is None else file.write_bytes(content)

    with pytest.raises(SystemExit, match=str(START_FAILED)):
        development_keys()

    fault = "Is a directory" if content is None else "is not an RSA key"
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{DEVELOPMENT_KEY}: {fault}")


def test_key_of_development_is_not_committed() -> None:
    ignored = (Path(__file__).parents[2] / ".gitignore").read_text(encoding="utf-8")

    assert f"{DEVELOPMENT_KEY.parent}/" in ignored.splitlines()


def test_of_several_that_start_at_once_one_makes_the_key(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_found_none = threading.Barrier(4)

    def generate() -> tuple[bytes, bytes]:
        all_found_none.wait(timeout=30)
        key = RSAKey.generate_key(MIN_BITS)
        return key.as_pem(private=True), key.as_pem(private=False)

    monkeypatch.setattr("app.core.security.keys.generate_key", generate)

    with ThreadPoolExecutor(4) as starts:
        used = {start.result() for start in [starts.submit(development_key) for _ in range(4)]}

    assert used == {read_key("", project / DEVELOPMENT_KEY)}


def development_key() -> bytes:
    return development_keys().signing.as_pem(private=True)


def test_key_that_is_there_is_never_replaced(project: Path) -> None:
    path = project / DEVELOPMENT_KEY
    write_private_key(path, PRIVATE)

    with pytest.raises(FileExistsError):
        write_private_key(path, b"another")

    assert read_key("", path) == PRIVATE


def test_tests_have_a_key_of_their_own(app: FastAPI, project: Path) -> None:
    assert load_keys(app.state.settings).signing.is_private
    assert not (project / DEVELOPMENT_KEY).exists()
