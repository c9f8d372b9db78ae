"""Passwords: which are taken, forgotten, reset, changed."""

import unicodedata
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from pydantic import ValidationError

from app.core.security import passwords
from app.core.security.passwords import (
    MAX_LENGTH,
    MIN_LENGTH,
    hash_password,
    is_common,
    verify_password,
)
from app.core.security.tokens import TokenType
from app.core.settings import Environment, Settings
from app.core.settings.auth import AuthSettings
from tests.support.accounts import PASSWORD, Account, Outbox, new_account

SIGN_UP = "/api/v1/auth/sign-up"
LOGIN = "/api/v1/auth/login"
FORGOT = "/api/v1/auth/forgot-password"
RESET = "/api/v1/auth/reset-password"
CHANGE = "/api/v1/users/me/password"
NEXT = "another horse and its battery"


async def log_in(client: AsyncClient, email: str, password: str) -> int:
    response = await client.post(LOGIN, data={"username": email, "password": password})
    return response.status_code


async def sign_up(client: AsyncClient, password: str) -> Response:
    return await client.post(SIGN_UP, json={"email": "carol@example.com", "password": password})


# ── Which are taken ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "password",
    [
        "v" * 3 + "x" * 9,
        "xy" * 64,
        "    a few spaces    ",
        "пароль не для всех",
        "密码不是给每个人的密码哦",
        "🐎🔋📎✅🐎🔋📎✅🐎🔋📎✅",
        "no NUL\0 is special",
    ],
)
async def test_long_password_of_any_characters_is_taken(
    anonymous: AsyncClient, password: str
) -> None:
    response = await sign_up(anonymous, password)

    assert response.status_code == 201
    assert await log_in(anonymous, "carol@example.com", password) == 200


async def test_password_is_the_same_however_it_is_typed(anonymous: AsyncClient) -> None:
    password = "ein schönes Paßwort für Ägypten"
    await sign_up(anonymous, unicodedata.normalize("NFD", password))

    status = await log_in(anonymous, "carol@example.com", unicodedata.normalize("NFC", password))

    assert status == 200


@pytest.mark.parametrize(
    "password",
    [
        "",
        "x" * (MIN_LENGTH - 1),
        "xy" * (MAX_LENGTH // 2) + "z",
        "password1234",
        "Password1234",
        "PASSWORDPASSWORD",
        "123456789012",
        "qwertyuiop12",
        "iloveyou1234",
        "aaaaaaaaaaaa",
        "e\N{COMBINING ACUTE ACCENT}" * 6,
    ],
)
async def test_short_long_or_common_password_is_refused(
    anonymous: AsyncClient, password: str
) -> None:
    response = await sign_up(anonymous, password)

    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["password"]


async def test_half_a_surrogate_pair_is_refused(anonymous: AsyncClient) -> None:
    body = '{"email": "carol@example.com", "password": "\\ud800 and eleven more"}'

    response = await anonymous.post(
        SIGN_UP, content=body, headers={"Content-Type": "application/json"}
    )

    assert response.status_code == 422


@pytest.mark.parametrize("password", ["hunter2", "hunter2" * 100])
async def test_refused_password_is_not_repeated(
    anonymous: AsyncClient, client: AsyncClient, password: str
) -> None:
    change = {"current_password": password, "new_password": password}
    responses = [
        await sign_up(anonymous, password),
        await anonymous.post(RESET, json={"token": "x", "new_password": password}),
        await client.post(CHANGE, json=change),
        await client.post(CHANGE, json={"new_password": password}),
    ]

    assert {response.status_code for response in responses} == {422}
    assert not any("hunter2" in response.text for response in responses)


async def test_long_password_is_refused_before_it_is_hashed(
    anonymous: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hash_nothing(password: str, _settings: Settings) -> str:
        raise AssertionError(password)

    monkeypatch.setattr("app.services.auth.accounts.hash_password", hash_nothing)

    assert (await sign_up(anonymous, "x" * 1_000_000)).status_code in {413, 422}
    assert await log_in(anonymous, "carol@example.com", "x" * 100_000) == 422


def test_list_of_common_passwords_is_long_enough_to_matter() -> None:
    path = Path(passwords.__file__).with_name("common_passwords.txt")
    listed = path.read_text(encoding="utf-8").splitlines()

    assert len(set(listed)) >= 1000
    assert all(MIN_LENGTH <= len(password) <= MAX_LENGTH for password in listed)
    assert all(map(is_common, listed))


async def test_password_is_verified_against_its_hash_only() -> None:
    settings = Settings()
    hashed = await hash_password(PASSWORD, settings)

    assert await verify_password(PASSWORD, hashed, settings) == (True, hashed)
    assert await verify_password(NEXT, hashed, settings) == (False, None)
    assert await verify_password(PASSWORD, None, settings) == (False, None)


def test_passwords_are_hashed_with_64_mib_and_three_passes_outside_of_tests() -> None:
    assert AuthSettings(environment=Environment.DEVELOPMENT).password_hash_cost == (3, 65536)
    assert AuthSettings(environment=Environment.TEST).password_hash_cost == (1, 8)


@pytest.mark.parametrize(
    ("passes", "kib"), [(1, 47103), (2, 19455), (3, 12287), (4, 9215), (9, 7167)]
)
def test_deployed_service_hashes_at_owasps_minimum_or_more(passes: int, kib: int) -> None:
    def is_refused(kib: int) -> bool:
        try:
            Settings(
                environment=Environment.PRODUCTION,
                password_hash_time_cost=passes,
                password_hash_memory_kib=kib,
            )
        except ValidationError as error:
            return "password_hash_memory_kib" in {fault["loc"][0] for fault in error.errors()}
        return False

    assert is_refused(kib)
    assert not is_refused(kib + 1)


# ── Forgotten and reset ──────────────────────────────────────────────────────────────────────────


async def test_forgotten_password_is_reset(
    anonymous: AsyncClient, outbox: Outbox, alice: Account
) -> None:
    asked = await anonymous.post(FORGOT, json={"email": alice.email.upper()})

    body = {"token": outbox.last_token, "new_password": NEXT}
    response = await anonymous.post(RESET, json=body)

    assert (asked.status_code, response.status_code) == (202, 204)
    assert await log_in(anonymous, alice.email, NEXT) == 200
    assert await log_in(anonymous, alice.email, PASSWORD) == 401


async def test_reset_ends_all_sessions(
    anonymous: AsyncClient, outbox: Outbox, alice: Account, bob: Account
) -> None:
    await anonymous.post(FORGOT, json={"email": alice.email})

    await anonymous.post(RESET, json={"token": outbox.last_token, "new_password": NEXT})

    refresh = {"refresh_token": alice.refresh_token}
    refreshed = await anonymous.post("/api/v1/auth/refresh", json=refresh)
    assert not await alice.is_let_in()
    assert refreshed.status_code == 401
    assert await bob.is_let_in()


async def test_reset_token_works_once(
    anonymous: AsyncClient, outbox: Outbox, alice: Account
) -> None:
    await anonymous.post(FORGOT, json={"email": alice.email})
    body = {"token": outbox.last_token, "new_password": NEXT}
    await anonymous.post(RESET, json=body)

    response = await anonymous.post(RESET, json=body | {"new_password": "a third horse, perhaps"})

    assert response.status_code == 400
    assert response.json()["code"] == "invalid_token"


async def test_reset_token_dies_when_the_password_changes(
    anonymous: AsyncClient, outbox: Outbox, alice: Account
) -> None:
    await anonymous.post(FORGOT, json={"email": alice.email})
    token = outbox.last_token
    await alice.sends("POST", CHANGE, json={"current_password": PASSWORD, "new_password": NEXT})

    response = await anonymous.post(RESET, json={"token": token, "new_password": NEXT})

    assert response.status_code == 400


async def test_reset_token_dies_when_the_address_changes(
    anonymous: AsyncClient, outbox: Outbox, alice: Account, admin: Account
) -> None:
    await anonymous.post(FORGOT, json={"email": alice.email})
    change = {"email": "other@example.com"}
    await admin.sends("PATCH", f"/api/v1/users/{alice.id}", json=change)

    response = await anonymous.post(RESET, json={"token": outbox.last_token, "new_password": NEXT})

    assert response.status_code == 400


async def test_refused_password_leaves_the_reset_token_usable(
    anonymous: AsyncClient, outbox: Outbox, alice: Account
) -> None:
    await anonymous.post(FORGOT, json={"email": alice.email})
    body = {"token": outbox.last_token, "new_password": "password1234"}
    refused = await anonymous.post(RESET, json=body)

    response = await anonymous.post(RESET, json=body | {"new_password": NEXT})

    assert (refused.status_code, response.status_code) == (422, 204)


async def test_reset_token_of_a_closed_account_is_refused(
    anonymous: AsyncClient, outbox: Outbox, alice: Account
) -> None:
    await anonymous.post(FORGOT, json={"email": alice.email})
    await alice.sends("DELETE", "/api/v1/users/me")

    body = {"token": outbox.last_token, "new_password": NEXT}
    assert (await anonymous.post(RESET, json=body)).status_code == 400


async def test_reset_token_of_nobody_is_refused(app: FastAPI, anonymous: AsyncClient) -> None:
    token = app.state.tokens.issue(TokenType.RESET, uuid4(), timedelta(minutes=1), fingerprint="x")

    body = {"token": token, "new_password": NEXT}
    assert (await anonymous.post(RESET, json=body)).status_code == 400


async def test_reset_confirms_the_address(
    anonymous: AsyncClient, admin: Account, outbox: Outbox, alice: Account
) -> None:
    await anonymous.post(FORGOT, json={"email": alice.email})
    await anonymous.post(RESET, json={"token": outbox.last_token, "new_password": NEXT})

    user = (await admin.sends("GET", f"/api/v1/users/{alice.id}")).json()

    assert user["is_verified"] is True


async def test_account_without_a_password_is_given_one_by_a_reset(
    app: FastAPI, anonymous: AsyncClient, outbox: Outbox
) -> None:
    dora = await new_account(app, "dora@example.com", hashed_password=None)
    await anonymous.post(FORGOT, json={"email": dora.email})

    await anonymous.post(RESET, json={"token": outbox.last_token, "new_password": NEXT})

    assert await log_in(anonymous, dora.email, NEXT) == 200


async def test_answer_does_not_tell_who_has_an_account(
    app: FastAPI, anonymous: AsyncClient, outbox: Outbox, alice: Account
) -> None:
    closed = await new_account(app, "closed@example.com")
    await closed.sends("DELETE", "/api/v1/users/me")
    outbox.messages.clear()
    emails = [alice.email, "nobody@example.com", closed.email]

    responses = [await anonymous.post(FORGOT, json={"email": email}) for email in emails]

    assert {response.status_code for response in responses} == {202}
    assert len({response.content for response in responses}) == 1
    assert [message["To"] for message in outbox.messages] == [alice.email]


async def test_answer_is_sent_before_the_account_is_looked_for(
    anonymous: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find_nothing(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("app.services.auth.accounts.AccountService._find", find_nothing)

    response = await anonymous.post(FORGOT, json={"email": "alice@example.com"})

    assert response.status_code == 202


# ── Changed ──────────────────────────────────────────────────────────────────────────────────────


async def test_password_is_changed(anonymous: AsyncClient, alice: Account) -> None:
    body = {"current_password": PASSWORD, "new_password": NEXT}

    response = await alice.sends("POST", CHANGE, json=body)

    assert response.status_code == 204
    assert await log_in(anonymous, alice.email, PASSWORD) == 401
    assert await log_in(anonymous, alice.email, NEXT) == 200


async def test_session_of_the_change_goes_on(alice: Account) -> None:
    await alice.sends("POST", CHANGE, json={"current_password": PASSWORD, "new_password": NEXT})

    assert await alice.is_let_in()


async def test_wrong_current_password_changes_nothing(
    anonymous: AsyncClient, alice: Account
) -> None:
    body = {"current_password": "not the password of Alice", "new_password": NEXT}

    response = await alice.sends("POST", CHANGE, json=body)

    assert response.status_code == 400
    assert response.json()["code"] == "wrong_password"
    assert await log_in(anonymous, alice.email, PASSWORD) == 200


async def test_owner_is_told_of_a_change(outbox: Outbox, alice: Account) -> None:
    await alice.sends("POST", CHANGE, json={"current_password": PASSWORD, "new_password": NEXT})

    (message,) = outbox.messages
    assert message["To"] == alice.email
    assert message["Subject"] == "Your password was changed"
