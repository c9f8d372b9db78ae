"""Logins with a provider that must not succeed: forged, replayed, mixed up, or not allowed."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from httpx import AsyncClient, Response
from joserfc.jwk import ECKey, OctKey, RSAKey
from sqlmodel import col
from starlette.responses import JSONResponse

from app.core.settings import Settings
from app.models import Identity, OidcLogin, User
from tests.support.accounts import PASSWORD, Outbox, new_account
from tests.support.oidc_provider import CLIENT_ID, CLIENT_SECRET, OIDC, Browser, Provider, signed

EMAIL = "carol@example.com"


@pytest.fixture
def settings(oidc_settings: Settings) -> Settings:
    return oidc_settings


async def refusal(app: FastAPI, response: Response) -> tuple[int, str]:
    """Return how the login was refused, after which nobody has an account or a session."""
    assert "access_token" not in response.text
    async with app.state.database.reading() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(User)) == 0
    return response.status_code, response.json()["code"]


INVALID_STATE = (400, "invalid_login_state")
FAILED = (401, "login_failed")
NOT_VERIFIED = (403, "email_not_verified")


# ── State: one browser, one provider, once, and soon ─────────────────────────────────────────────


@pytest.mark.parametrize("state", [None, "", "wrong", "a" * 4096])
async def test_state_has_to_be_the_one_that_was_sent(
    app: FastAPI, browser: Browser, state: str | None
) -> None:
    callback = await browser.agrees(await browser.begins())

    response = await browser.comes_back(callback, state=state)

    assert await refusal(app, response) == INVALID_STATE


async def test_state_works_once(browser: Browser) -> None:
    callback = await browser.agrees(await browser.begins())
    cookie = browser.client.cookies["oidc_login"]
    await browser.comes_back(callback)
    browser.client.cookies.set("oidc_login", cookie)

    response = await browser.comes_back(callback)

    assert (response.status_code, response.json()["code"]) == INVALID_STATE


async def test_state_of_another_browser_is_refused(
    app: FastAPI, browser: Browser, another_browser: Browser
) -> None:
    # The attacker's callback, which the victim is made to follow.
    callback = await browser.agrees(await browser.begins())
    await another_browser.begins()

    response = await another_browser.comes_back(callback)

    assert await refusal(app, response) == INVALID_STATE


async def test_browser_without_the_cookie_is_refused(
    app: FastAPI, browser: Browser, another_browser: Browser
) -> None:
    callback = await browser.agrees(await browser.begins())

    response = await another_browser.comes_back(callback)

    assert await refusal(app, response) == INVALID_STATE


async def test_state_of_another_provider_is_refused(app: FastAPI, browser: Browser) -> None:
    callback = await browser.agrees(await browser.begins("one"))

    response = await browser.comes_back(callback.replace("/one/", "/other/"))

    assert await refusal(app, response) == INVALID_STATE


async def test_state_expires(app: FastAPI, browser: Browser) -> None:
    callback = await browser.agrees(await browser.begins())
    async with app.state.database.transaction() as connection:
        await connection.execute(sa.update(OidcLogin).values(expires_at=OidcLogin.created_at))

    response = await browser.comes_back(callback)

    assert await refusal(app, response) == INVALID_STATE


# ── Code ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", [None, "", "wrong", "a" * 4096])
async def test_code_has_to_be_the_providers(
    app: FastAPI, browser: Browser, code: str | None
) -> None:
    callback = await browser.agrees(await browser.begins())

    response = await browser.comes_back(callback, code=code)

    assert await refusal(app, response) == FAILED


async def test_code_works_once(browser: Browser) -> None:
    used = await browser.agrees(await browser.begins())
    await browser.comes_back(used)
    callback = await browser.agrees(await browser.begins())

    response = await browser.comes_back(callback, code=parse_qs(urlsplit(used).query)["code"][0])

    assert (response.status_code, response.json()["code"]) == FAILED


async def test_code_of_somebody_elses_login_is_refused(
    app: FastAPI, browser: Browser, another_browser: Browser
) -> None:
    # Injected, as RFC 9700 section 4.5 has it: PKCE ties the code to the browser's own login.
    stolen = parse_qs(urlsplit(await browser.agrees(await browser.begins())).query)["code"][0]
    callback = await another_browser.agrees(await another_browser.begins())

    response = await another_browser.comes_back(callback, code=stolen)

    assert await refusal(app, response) == FAILED


# ── Issuer of the response (RFC 9207) ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("issuer", [None, "other", "https://evil.example.com", "with a slash"])
async def test_code_of_another_issuer_is_not_handed_over(
    app: FastAPI,
    browser: Browser,
    provider: Provider,
    other_provider: Provider,
    issuer: str | None,
) -> None:
    callback = await browser.agrees(await browser.begins())
    forged = {"other": other_provider.issuer, "with a slash": f"{provider.issuer}/"}

    response = await browser.comes_back(callback, iss=forged.get(issuer or "", issuer))

    assert await refusal(app, response) == FAILED
    assert provider.token_requests == []


async def test_wrong_issuer_is_refused_even_when_none_was_announced(
    app: FastAPI, browser: Browser, provider: Provider
) -> None:
    provider.metadata = {"authorization_response_iss_parameter_supported": None}
    callback = await browser.agrees(await browser.begins())

    response = await browser.comes_back(callback, iss="https://evil.example.com")

    assert await refusal(app, response) == FAILED


async def test_issuer_may_be_absent_when_none_was_announced(
    browser: Browser, provider: Provider
) -> None:
    provider.metadata = {"authorization_response_iss_parameter_supported": None}
    callback = await browser.agrees(await browser.begins())

    response = await browser.comes_back(callback, iss=None)

    assert response.status_code == 200


# ── ID token ─────────────────────────────────────────────────────────────────────────────────────

PAST, FUTURE = int(time.time()) - 600, int(time.time()) + 600


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "wrong"},
        {"nonce": None},
        {"aud": "another-client"},
        {"aud": None},
        {"aud": []},
        {"aud": ["another-client"]},
        {"aud": [CLIENT_ID, "another-client"]},
        {"aud": [CLIENT_ID, "another-client"], "azp": "another-client"},
        {"azp": "another-client"},
        {"iss": "https://evil.example.com"},
        {"iss": None},
        {"exp": PAST},
        {"exp": None},
        {"exp": "never"},
        {"exp": True},
        {"iat": FUTURE},
        {"iat": None},
        {"nbf": FUTURE},
        {"at_hash": "wrong"},
        {"at_hash": ["wrong"]},
        {"sub": None},
        {"sub": ""},
        {"sub": 1},
        {"sub": "a" * 256},
        {"sub": "carol\0"},
        {"sub": "\ud800"},
    ],
)
async def test_claims_have_to_be_for_this_login(
    app: FastAPI, browser: Browser, provider: Provider, claims: dict[str, Any]
) -> None:
    provider.claims = claims
    # Whichever of the two is asked for the address.
    provider.userinfo = {"email": None}

    assert await refusal(app, await browser.logs_in()) == FAILED


async def test_token_of_another_provider_is_refused(
    app: FastAPI, browser: Browser, provider: Provider, other_provider: Provider
) -> None:
    provider.claims = {"iss": other_provider.issuer}
    provider.sign = other_provider.sign_well

    assert await refusal(app, await browser.logs_in()) == FAILED


def _part(value: dict[str, Any]) -> str:
    return _encoded(json.dumps(value).encode())


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def unsigned(_provider: Provider, claims: dict[str, Any]) -> str:
    return f"{_part({'alg': 'none'})}.{_part(claims)}."


def without_signature(provider: Provider, claims: dict[str, Any]) -> str:
    return provider.sign_well(claims).rpartition(".")[0] + "."


def changed_after_signing(provider: Provider, claims: dict[str, Any]) -> str:
    header, _, signature = provider.sign_well(claims).split(".")
    return f"{header}.{_part({**claims, 'sub': 'somebody else'})}.{signature}"


def by_the_clients_secret(provider: Provider, claims: dict[str, Any]) -> str:
    key = OctKey.import_key(CLIENT_SECRET)
    return signed(claims, {"alg": "HS256", "kid": provider.key.kid}, key)


def by_the_public_key_as_a_secret(provider: Provider, claims: dict[str, Any]) -> str:
    text = f"{_part({'alg': 'HS256', 'kid': provider.key.kid})}.{_part(claims)}"
    secret = provider.key.as_pem(private=False)
    return f"{text}.{_encoded(hmac.digest(secret, text.encode(), 'sha256'))}"


def by_another_key_of_the_same_name(provider: Provider, claims: dict[str, Any]) -> str:
    return signed(claims, {"alg": "RS256", "kid": provider.key.kid}, RSAKey.generate_key(2048))


def by_an_unknown_key(_provider: Provider, claims: dict[str, Any]) -> str:
    return signed(claims, {"alg": "RS256", "kid": "unknown"}, RSAKey.generate_key(2048))


def by_a_key_of_its_own(_provider: Provider, claims: dict[str, Any]) -> str:
    key = RSAKey.generate_key(2048, auto_kid=True)
    header = {"alg": "RS256", "kid": key.kid, "jwk": key.as_dict(private=False)}
    return signed(claims, header, key)


def by_an_algorithm_not_announced(_provider: Provider, claims: dict[str, Any]) -> str:
    return signed(claims, {"alg": "ES256", "kid": "unknown"}, ECKey.generate_key("P-256"))


def with_a_critical_extension(provider: Provider, claims: dict[str, Any]) -> str:
    header = {"alg": "RS256", "kid": provider.key.kid, "b64": True, "crit": ["b64"]}
    return signed(claims, header, provider.key)


def with_an_empty_list_of_critical_extensions(provider: Provider, claims: dict[str, Any]) -> str:
    return signed(claims, {"alg": "RS256", "kid": provider.key.kid, "crit": []}, provider.key)


def garbage(_provider: Provider, _claims: dict[str, Any]) -> str:
    return "not.a.token"


@pytest.mark.parametrize(
    "forge",
    [
        unsigned,
        without_signature,
        changed_after_signing,
        by_the_clients_secret,
        by_the_public_key_as_a_secret,
        by_another_key_of_the_same_name,
        by_an_unknown_key,
        by_a_key_of_its_own,
        by_an_algorithm_not_announced,
        with_a_critical_extension,
        with_an_empty_list_of_critical_extensions,
        garbage,
    ],
)
async def test_token_has_to_be_signed_by_the_provider(
    app: FastAPI,
    browser: Browser,
    provider: Provider,
    forge: Callable[[Provider, dict[str, Any]], str],
) -> None:
    provider.sign = lambda claims: forge(provider, claims)

    assert await refusal(app, await browser.logs_in()) == FAILED


@pytest.mark.parametrize("announced", [[], ["HS256"], ["none"]])
async def test_provider_that_cannot_sign_is_no_provider(
    app: FastAPI, browser: Browser, provider: Provider, announced: list[str]
) -> None:
    provider.metadata = {"id_token_signing_alg_values_supported": announced}
    provider.sign = lambda claims: by_the_clients_secret(provider, claims)

    assert await refusal(app, await browser.logs_in()) == (502, "provider_error")


async def test_answer_without_an_id_token_proves_nothing(
    app: FastAPI, browser: Browser, provider: Provider
) -> None:
    provider.answers["/token"] = JSONResponse({"access_token": "a", "token_type": "Bearer"})

    assert await refusal(app, await browser.logs_in()) == FAILED


# ── E-mail addresses ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "person",
    [
        {"email_verified": False},
        {"email_verified": None},
        {"email_verified": "false"},
        {"email_verified": 1},
        {"email_verified": [True]},
        {"email": None},
        {"email": ""},
        {"email": "not an address"},
        {"email": [EMAIL]},
        {"email": f"{EMAIL}\n"},
    ],
)
async def test_nobody_signs_up_with_an_address_that_is_not_verified(
    app: FastAPI, browser: Browser, provider: Provider, person: dict[str, Any]
) -> None:
    provider.person |= person

    assert await refusal(app, await browser.logs_in()) == NOT_VERIFIED


async def test_address_that_is_not_verified_leads_to_no_account(
    browser: Browser, provider: Provider, app: FastAPI
) -> None:
    carol = await new_account(app, EMAIL, is_verified=True)
    provider.person["email_verified"] = False

    response = await browser.logs_in()

    assert (response.status_code, response.json()["code"]) == NOT_VERIFIED
    assert await carol.is_let_in()


@pytest.mark.parametrize("is_verified", [True, False])
async def test_account_found_by_its_address_loses_its_password_and_sessions(
    browser: Browser, app: FastAPI, anonymous: AsyncClient, *, is_verified: bool
) -> None:
    # An attacker signed up with Carol's address; she may even have confirmed it.
    attacker = await new_account(app, EMAIL, is_verified=is_verified)

    response = await browser.logs_in()

    form = {"username": EMAIL, "password": PASSWORD}
    refresh = {"refresh_token": attacker.refresh_token}
    assert response.status_code == 200
    assert not await attacker.is_let_in()
    assert (await anonymous.post("/api/v1/auth/login", data=form)).status_code == 401
    assert (await anonymous.post("/api/v1/auth/refresh", json=refresh)).status_code == 401


async def test_account_found_by_its_address_loses_its_other_identities(
    browser: Browser, another_browser: Browser, app: FastAPI, other_provider: Provider
) -> None:
    attacker = await new_account(app, EMAIL, is_verified=True)
    other_provider.person |= {"sub": "attacker", "email": "attacker@example.com"}
    link = await another_browser.client.post(f"{OIDC}/other/link", headers=attacker.headers)
    callback = await another_browser.agrees(link.json()["authorization_url"])
    await another_browser.comes_back(callback)

    await browser.logs_in()

    async with app.state.database.reading() as connection:
        linked = (await connection.scalars(sa.select(col(Identity.subject)))).all()
    assert linked == ["carol-1"]


async def test_account_found_by_its_address_is_verified_from_then_on(
    browser: Browser, app: FastAPI
) -> None:
    await new_account(app, EMAIL, is_verified=False)

    pair = (await browser.logs_in()).json()

    headers = {"Authorization": f"Bearer {pair['access_token']}"}
    user = (await browser.client.get("/api/v1/users/me", headers=headers)).json()
    assert user["is_verified"] is True


async def test_owner_is_told_that_the_password_is_gone(
    browser: Browser, app: FastAPI, outbox: Outbox
) -> None:
    await new_account(app, EMAIL, is_verified=True)

    await browser.logs_in()

    (message,) = outbox.messages
    assert (message["To"], message["Subject"]) == (EMAIL, "A login was linked to your account")
    assert "its password no longer" in message.get_content()


async def test_second_provider_ends_nothing(
    browser: Browser, another_browser: Browser, outbox: Outbox, app: FastAPI
) -> None:
    app.state.settings = app.state.settings.model_copy(update={"sessions_per_user": 0})
    first = (await browser.logs_in()).json()

    response = await another_browser.logs_in("other")

    headers = {"Authorization": f"Bearer {first['access_token']}"}
    assert response.status_code == 200
    assert (await browser.client.get("/api/v1/users/me", headers=headers)).status_code == 200
    assert outbox.sent == [(EMAIL, "A login was linked to your account")]


async def test_closed_account_that_was_never_verified_does_not_block_the_owner(
    browser: Browser, app: FastAPI
) -> None:
    attacker = await new_account(app, EMAIL, is_verified=False)
    await attacker.sends("DELETE", "/api/v1/users/me")

    response = await browser.logs_in()

    headers = {"Authorization": f"Bearer {response.json()['access_token']}"}
    user = (await browser.client.get("/api/v1/users/me", headers=headers)).json()
    assert user["id"] != str(attacker.id)


async def test_user_info_about_somebody_else_is_not_believed(
    app: FastAPI, browser: Browser, provider: Provider
) -> None:
    provider.claims = {"email": None}
    provider.userinfo = {"sub": "somebody else"}

    assert await refusal(app, await browser.logs_in()) == FAILED


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "", 5, ["Carol"]])
async def test_name_that_cannot_be_kept_is_left_out(
    browser: Browser, provider: Provider, name: object
) -> None:
    provider.person["name"] = name

    assert (await browser.logs_in()).status_code == 200


# ── Accounts that are closed ─────────────────────────────────────────────────────────────────────


async def deactivate(app: FastAPI, email: str) -> None:
    async with app.state.database.transaction() as connection:
        closed = sa.update(User).where(sa.column("email") == email).values(is_active=False)
        await connection.execute(closed)


async def test_closed_account_stays_closed(browser: Browser, app: FastAPI) -> None:
    await browser.logs_in()
    await deactivate(app, EMAIL)

    response = await browser.logs_in()

    assert (response.status_code, response.json()["code"]) == FAILED


async def test_closed_account_is_not_opened_by_its_address(browser: Browser, app: FastAPI) -> None:
    await new_account(app, EMAIL, is_verified=True)
    await deactivate(app, EMAIL)

    response = await browser.logs_in()

    assert (response.status_code, response.json()["code"]) == FAILED
    async with app.state.database.reading() as connection:
        assert (await connection.execute(sa.select(Identity))).all() == []


# ── What the provider says no to ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        ("access_denied", (400, "login_denied")),
        ("login_required", (400, "login_denied")),
        ("<script>alert(1)</script>", (400, "login_denied")),
        ("server_error", (502, "provider_error")),
        ("temporarily_unavailable", (502, "provider_error")),
    ],
)
async def test_error_of_the_provider_ends_the_login(
    app: FastAPI, browser: Browser, error: str, answer: tuple[int, str]
) -> None:
    callback = await browser.agrees(await browser.begins())

    response = await browser.comes_back(callback, error=error, error_description="<b>no</b>")

    assert await refusal(app, response) == answer
    assert error not in response.text
    assert "<b>" not in response.text
    assert (await browser.comes_back(callback)).json()["code"] == "invalid_login_state"


async def test_error_needs_a_state_too(app: FastAPI, browser: Browser) -> None:
    response = await browser.client.get(f"{OIDC}/one/callback?error=access_denied&state=wrong")

    assert await refusal(app, response) == INVALID_STATE


# ── Where to ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example.com",
        "//evil.example.com",
        "/\\evil.example.com",
        "/account/../admin",
        "/account?next=https://evil.example.com",
        "/account ",
        "/accounts",
        "javascript:alert(1)",
        "",
    ],
)
async def test_nobody_is_sent_to_a_path_that_is_not_configured(browser: Browser, path: str) -> None:
    response = await browser.client.get(f"{OIDC}/one/login", params={"next": path})

    assert (response.status_code, response.json()["code"]) == (400, "target_not_allowed")
    assert "Location" not in response.headers


async def test_callback_takes_no_target(browser: Browser) -> None:
    callback = await browser.agrees(await browser.begins())

    response = await browser.comes_back(callback, next="https://evil.example.com")

    assert response.status_code == 200
    assert "next" not in response.json()


@pytest.mark.parametrize("route", ["login", "callback"])
@pytest.mark.parametrize("name", ["nobody", "%00", "one%0A", "a" * 5000])
async def test_unknown_provider(anonymous: AsyncClient, name: str, route: str) -> None:
    response = await anonymous.get(f"{OIDC}/{name}/{route}")

    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("parameter", ["state", "code", "error", "iss"])
@pytest.mark.parametrize("value", ["a" * 5000, "%00", "%ED%A0%80"])
async def test_parameter_that_no_provider_sends(
    anonymous: AsyncClient, parameter: str, value: str
) -> None:
    cookie = (b"Cookie", "oidc_login=é".encode())

    response = await anonymous.get(f"{OIDC}/one/callback?{parameter}={value}", headers=[cookie])

    assert 400 <= response.status_code < 500


async def test_attempts_are_counted(anonymous: AsyncClient) -> None:
    for _ in range(10):
        await anonymous.get(f"{OIDC}/one/callback?state=guess")

    response = await anonymous.get(f"{OIDC}/one/callback?state=guess")

    assert response.status_code == 429
