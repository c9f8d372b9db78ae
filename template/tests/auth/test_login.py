"""Logging in: who may, what it gives, and what it does not tell."""

import asyncio
import threading
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from httpx import AsyncClient, Response
from joserfc import jwt
from joserfc.jwk import KeySet
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlmodel import col

from app.core.security import passwords
from app.core.security.passwords import get_hasher, hash_password
from app.core.settings import Settings
from app.models import User
from tests.support.accounts import PASSWORD, Account, hash_of_password, new_account
from tests.support.problems import problem

LOGIN = "/api/v1/auth/login"
WRONG = "not the password of anyone"


async def log_in(client: AsyncClient, email: str, password: str) -> Response:
    return await client.post(LOGIN, data={"username": email, "password": password})


async def test_login_gives_a_pair_of_tokens(anonymous: AsyncClient, alice: Account) -> None:
    response = await log_in(anonymous, alice.email, PASSWORD)

    pair = response.json()
    assert response.status_code == 200
    assert set(pair) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (pair["token_type"], pair["expires_in"]) == ("bearer", 900)


async def test_case_of_the_address_does_not_matter(anonymous: AsyncClient, alice: Account) -> None:
    response = await log_in(anonymous, alice.email.upper(), PASSWORD)

    assert response.status_code == 200


async def test_tokens_are_kept_by_no_cache(anonymous: AsyncClient, alice: Account) -> None:
    response = await log_in(anonymous, alice.email, PASSWORD)

    assert response.headers["Cache-Control"] == "no-store"


async def test_claims(app: FastAPI, anonymous: AsyncClient, alice: Account) -> None:
    pair = (await log_in(anonymous, alice.email, PASSWORD)).json()
    keys = KeySet.import_key_set((await anonymous.get("/.well-known/jwks.json")).json())

    tokens = [jwt.decode(pair[f"{kind}_token"], keys).claims for kind in ("access", "refresh")]

    access, refresh = tokens
    for claims in tokens:
        assert set(claims) == {"iss", "aud", "sub", "sid", "jti", "type", "iat", "nbf", "exp"}
        assert claims["iss"] == app.state.settings.jwt_issuer
        assert claims["aud"] == app.state.settings.jwt_audience
        assert claims["sub"] == str(alice.id)
    assert (access["type"], refresh["type"]) == ("access", "refresh")
    assert access["sid"] == refresh["sid"]
    assert access["jti"] != refresh["jti"]
    assert access["exp"] - access["iat"] == 15 * 60
    assert refresh["exp"] - refresh["iat"] == pytest.approx(7 * 24 * 60 * 60, abs=2)


async def test_login_ends_earlier_sessions(anonymous: AsyncClient, alice: Account) -> None:
    await log_in(anonymous, alice.email, PASSWORD)

    refresh = {"refresh_token": alice.refresh_token}
    refreshed = await anonymous.post("/api/v1/auth/refresh", json=refresh)
    assert not await alice.is_let_in()
    assert refreshed.status_code == 401


async def test_login_leaves_others_alone(
    anonymous: AsyncClient, alice: Account, bob: Account
) -> None:
    await log_in(anonymous, alice.email, PASSWORD)

    assert await bob.is_let_in()


async def test_unreadable_form_is_answered_as_invalid_fields_are(anonymous: AsyncClient) -> None:
    headers = {"Content-Type": "multipart/form-data"}

    response = await anonymous.post(LOGIN, content=b"--", headers=headers)

    [error] = problem(response, 422)["errors"]
    assert (error["field"], error["code"]) == ("body", "form_invalid")


async def test_name_that_is_no_address_is_refused_like_an_unknown_one(
    anonymous: AsyncClient,
) -> None:
    response = await log_in(anonymous, "alice", PASSWORD)

    assert response.status_code == 401
    assert response.json()["code"] == "invalid_credentials"


async def test_password_that_changes_meanwhile_opens_nothing(
    app: FastAPI, anonymous: AsyncClient, alice: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = passwords.verify_password

    async def verify_slowly(
        password: str, hashed: str | None, settings: Settings
    ) -> tuple[bool, str | None]:
        result = await verify(password, hashed, settings)
        async with app.state.database.transaction() as connection:
            await connection.execute(sa.update(User).values(hashed_password="changed"))
        return result

    monkeypatch.setattr("app.services.auth.accounts.verify_password", verify_slowly)

    response = await log_in(anonymous, alice.email, PASSWORD)

    assert response.status_code == 401


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"username": "alice@example.com"},
        {"password": PASSWORD},
        {"username": "alice@example.com", "password": PASSWORD, "grant_type": "refresh_token"},
        {"username": "alice\0@example.com", "password": PASSWORD},
        {"username": "a" * 255, "password": PASSWORD},
        {"username": "alice@example.com", "password": "x" * 129},
    ],
)
async def test_form_of_another_shape_is_refused(
    anonymous: AsyncClient, form: dict[str, str]
) -> None:
    response = await anonymous.post(LOGIN, data=form)

    assert response.status_code == 422
    assert PASSWORD not in response.text


# ── Accounts that cannot log in ──────────────────────────────────────────────────────────────────

KINDS = ["unknown", "wrong", "inactive", "passwordless"]


@pytest.fixture
async def refused(app: FastAPI) -> dict[str, dict[str, str]]:
    """A form for each reason to refuse a login."""
    await new_account(app, "wrong@example.com")
    inactive = await new_account(app, "inactive@example.com")
    await inactive.sends("DELETE", "/api/v1/users/me")
    await new_account(app, "passwordless@example.com", hashed_password=None)
    return {
        kind: {
            "username": f"{kind}@example.com",
            "password": PASSWORD if kind == "inactive" else WRONG,
        }
        for kind in KINDS
    }


def told(response: Response) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Return all that a response tells, but for its id and time."""
    headers = dict(response.headers)
    body = response.json()
    for name in ("request_id", "timestamp"):
        body.pop(name)
    headers.pop("x-request-id")
    headers.pop("content-length")
    return response.status_code, headers, body


async def test_refusal_does_not_tell_its_reason(
    anonymous: AsyncClient, refused: dict[str, dict[str, str]]
) -> None:
    answers = [told(await anonymous.post(LOGIN, data=refused[kind])) for kind in KINDS]

    status, headers, body = answers[0]
    assert all(answer == answers[0] for answer in answers)
    assert status == 401
    assert headers["www-authenticate"] == "Bearer"
    assert body["code"] == "invalid_credentials"


@pytest.mark.parametrize("kind", KINDS)
async def test_refusal_takes_the_work_of_one_password(
    monkeypatch: pytest.MonkeyPatch,
    anonymous: AsyncClient,
    refused: dict[str, dict[str, str]],
    kind: str,
) -> None:
    verified: list[str] = []

    class Hasher(Argon2Hasher):
        def verify(self, password: str | bytes, hash: str | bytes) -> bool:  # noqa: A002
            verified.append(str(hash))
            return super().verify(password, hash)

    hasher = get_hasher(*Settings().password_hash_cost)
    monkeypatch.setattr(hasher, "hashers", [Hasher(1, 8, 1)])

    await anonymous.post(LOGIN, data=refused[kind])

    # All with the same parameters, and so in the same time.
    assert [hashed.split("$")[:4] for hashed in verified] == [
        ["", "argon2id", "v=19", "m=8,t=1,p=1"]
    ]


async def test_password_is_hashed_off_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, anonymous: AsyncClient, alice: Account
) -> None:
    threads: list[str] = []

    def verify(_password: str, hashed: str) -> tuple[bool, str | None]:
        threads.append(threading.current_thread().name)
        return hashed == hash_of_password(), None

    monkeypatch.setattr(get_hasher(*Settings().password_hash_cost), "verify_and_update", verify)

    assert (await log_in(anonymous, alice.email, PASSWORD)).status_code == 200
    assert [name.partition("_")[0] for name in threads] == ["password"]


async def test_four_passwords_are_hashed_at_once_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: set[str] = set()
    four = threading.Barrier(4)

    def hash_with_three_others(password: str) -> str:
        threads.add(threading.current_thread().name)
        four.wait(timeout=10)
        return password

    settings = Settings()
    hasher = get_hasher(*settings.password_hash_cost)
    monkeypatch.setattr(hasher, "hash", hash_with_three_others)

    await asyncio.gather(*(hash_password(PASSWORD, settings) for _ in range(16)))

    assert len(threads) == 4


# ── What becomes of the hash ─────────────────────────────────────────────────────────────────────


async def hash_of(app: FastAPI, email: str) -> str | None:
    statement = sa.select(col(User.hashed_password)).where(col(User.email) == email)
    async with app.state.database.reading() as connection:
        hashed: str | None = await connection.scalar(statement)
    return hashed


async def test_password_is_kept_as_argon2id(app: FastAPI, anonymous: AsyncClient) -> None:
    email = f"{uuid4().hex}@example.com"
    await anonymous.post("/api/v1/auth/sign-up", json={"email": email, "password": PASSWORD})

    hashed = await hash_of(app, email)

    assert hashed is not None
    assert hashed.startswith("$argon2id$v=19$m=8,t=1,p=1$")


async def test_hash_of_another_cost_is_renewed_by_a_login(
    app: FastAPI, anonymous: AsyncClient
) -> None:
    other = Argon2Hasher(time_cost=2, memory_cost=64, parallelism=1).hash(PASSWORD)
    alice = await new_account(app, "alice@example.com", hashed_password=other)

    responses = [await log_in(anonymous, alice.email, PASSWORD) for _ in range(2)]

    renewed = await hash_of(app, alice.email)
    assert [response.status_code for response in responses] == [200, 200]
    assert renewed is not None
    assert renewed.startswith("$argon2id$v=19$m=8,t=1,p=1$")


async def test_hash_stays_as_it_is_when_it_is_good(
    app: FastAPI, anonymous: AsyncClient, alice: Account
) -> None:
    before = await hash_of(app, alice.email)

    await log_in(anonymous, alice.email, PASSWORD)

    assert await hash_of(app, alice.email) == before
