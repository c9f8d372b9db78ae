"""Logging in with an OpenID Connect provider."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from httpx import AsyncClient, Response
from joserfc.jwk import RSAKey

from app.core.settings import Settings
from app.main import create_app
from app.models import Identity, LoginSession, OidcLogin, User
from app.services.oidc.login import purge
from tests.support.accounts import Outbox, new_account
from tests.support.oidc_provider import OIDC, Browser, Provider, signed

EMAIL = "carol@example.com"


@pytest.fixture
def settings(oidc_settings: Settings) -> Settings:
    return oidc_settings


async def me(browser: Browser, response: Response) -> dict[str, Any]:
    """Return the account that the tokens of a login are for."""
    assert response.status_code == 200, response.text
    headers = {"Authorization": f"Bearer {response.json()['access_token']}"}
    account = await browser.client.get("/api/v1/users/me", headers=headers)
    assert account.status_code == 200
    user: dict[str, Any] = account.json()
    return user


async def count(app: FastAPI, table: type[Any]) -> int:
    async with app.state.database.reading() as connection:
        return int(await connection.scalar(sa.select(sa.func.count()).select_from(table)))


# ── There ────────────────────────────────────────────────────────────────────────────────────────


async def test_login_leads_to_the_provider_with_state_nonce_and_pkce(
    browser: Browser, provider: Provider
) -> None:
    first, second = await browser.begins(), await browser.begins()

    assert first.startswith(f"{provider.issuer}/authorize?")
    queries = [parse_qs(urlsplit(url).query) for url in (first, second)]
    assert queries[0]["code_challenge_method"] == ["S256"]
    assert queries[0]["response_type"] == ["code"]
    assert queries[0]["scope"] == ["openid email profile"]
    assert all(
        len(queries[0][name][0]) >= 43 and queries[0][name] != queries[1][name]
        for name in ("state", "nonce", "code_challenge")
    )


async def test_redirect_uri_is_not_made_of_the_host_header(browser: Browser) -> None:
    response = await browser.client.get(f"{OIDC}/one/login", headers={"Host": "evil.example.com"})

    query = parse_qs(urlsplit(response.headers["Location"]).query)
    assert query["redirect_uri"] == [f"http://127.0.0.1:8000{OIDC}/one/callback"]


async def test_cookie_is_out_of_reach_for_scripts_and_other_sites(browser: Browser) -> None:
    response = await browser.client.get(f"{OIDC}/one/login")

    name, _, attributes = response.headers["Set-Cookie"].partition("=")
    assert name == "oidc_login"
    assert attributes.partition("; ")[2] == "HttpOnly; Max-Age=600; Path=/; SameSite=lax"
    assert response.headers["Cache-Control"] == "no-store"


async def test_cookie_is_for_this_host_and_tls_only_where_there_is_tls(
    browser: Browser, app: FastAPI
) -> None:
    public = {"public_url": "https://api.example.com"}
    app.state.settings = app.state.settings.model_copy(update=public)

    response = await browser.client.get(f"{OIDC}/one/login")

    assert response.headers["Set-Cookie"].startswith("__Host-oidc_login=")
    assert response.headers["Set-Cookie"].endswith(
        "; HttpOnly; Max-Age=600; Path=/; SameSite=lax; Secure"
    )


async def test_what_is_kept_tells_nobody_the_state(browser: Browser, app: FastAPI) -> None:
    url = await browser.begins()

    state = parse_qs(urlsplit(url).query)["state"][0]
    async with app.state.database.reading() as connection:
        row = (await connection.execute(sa.select(OidcLogin))).one()
    assert state not in {str(value) for value in row}
    assert browser.client.cookies["oidc_login"] not in {str(value) for value in row}


async def test_purge_deletes_logins_that_nobody_came_back_from(
    browser: Browser, app: FastAPI
) -> None:
    await browser.begins()
    expired = sa.update(OidcLogin).values(expires_at=OidcLogin.created_at)
    async with app.state.database.transaction() as connection:
        await connection.execute(expired)
    callback = await browser.agrees(await browser.begins())

    async with app.state.database.transaction() as connection:
        assert await purge(connection) == 1

    assert (await browser.comes_back(callback)).status_code == 200


# ── And back ─────────────────────────────────────────────────────────────────────────────────────


async def test_new_person_gets_an_account(browser: Browser) -> None:
    response = await browser.logs_in()

    assert set(response.json()) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert response.headers["Cache-Control"] == "no-store"
    user = await me(browser, response)
    assert (user["email"], user["full_name"]) == (EMAIL, "Carol")
    assert (user["role"], user["is_active"], user["is_verified"]) == ("user", True, True)


async def test_same_person_comes_back_to_the_same_account(
    browser: Browser, provider: Provider
) -> None:
    first = await me(browser, await browser.logs_in())
    # Addresses may change, and belong to somebody else one day; the subject does not.
    provider.person |= {"email": "new@example.com", "name": "Caroline"}

    second = await me(browser, await browser.logs_in())

    assert second == first


async def test_same_subject_of_another_provider_is_another_person(
    browser: Browser, other_provider: Provider
) -> None:
    other_provider.person["email"] = "somebody@example.com"

    first = await me(browser, await browser.logs_in("one"))
    second = await me(browser, await browser.logs_in("other"))

    assert first["id"] != second["id"]


async def test_verified_address_leads_to_the_account_that_has_verified_it_too(
    browser: Browser, app: FastAPI
) -> None:
    carol = await new_account(app, EMAIL, is_verified=True)

    user = await me(browser, await browser.logs_in())

    assert user["id"] == str(carol.id)


async def test_case_of_the_address_does_not_count(
    browser: Browser, provider: Provider, app: FastAPI
) -> None:
    carol = await new_account(app, EMAIL, is_verified=True)
    provider.person["email"] = "Carol@EXAMPLE.com"

    user = await me(browser, await browser.logs_in())

    assert user["id"] == str(carol.id)


async def test_address_is_asked_for_where_the_id_token_has_none(
    browser: Browser, provider: Provider
) -> None:
    provider.claims = {"email": None, "email_verified": None, "name": None}

    user = await me(browser, await browser.logs_in())

    assert (user["email"], user["full_name"]) == (EMAIL, "Carol")


async def test_login_ends_earlier_sessions(browser: Browser, app: FastAPI) -> None:
    carol = await new_account(app, EMAIL, is_verified=True)

    await me(browser, await browser.logs_in())

    assert not await carol.is_let_in()


async def test_refresh_token_works(browser: Browser) -> None:
    pair = (await browser.logs_in()).json()

    response = await browser.client.post(
        "/api/v1/auth/refresh", json={"refresh_token": pair["refresh_token"]}
    )

    assert response.status_code == 200


async def test_path_that_was_asked_for_comes_back(browser: Browser) -> None:
    response = await browser.logs_in(next="/account")

    assert response.json()["next"] == "/account"


async def test_cookie_is_gone_after_the_login(browser: Browser) -> None:
    await browser.logs_in()

    assert "oidc_login" not in browser.client.cookies


async def test_secret_goes_into_the_form_for_providers_that_want_it_there(
    browser: Browser, provider: Provider
) -> None:
    provider.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}

    assert (await browser.logs_in()).status_code == 200
    assert "client_secret" in provider.token_requests[-1]


async def test_provider_is_asked_about_itself_once(browser: Browser, provider: Provider) -> None:
    await browser.logs_in()
    await browser.logs_in()

    assert provider.requests.count("/.well-known/openid-configuration") == 1
    assert provider.requests.count("/jwks") == 1


async def test_new_key_of_the_provider_is_fetched(browser: Browser, provider: Provider) -> None:
    await browser.logs_in()
    provider.rotate_key()

    assert (await browser.logs_in()).status_code == 200


async def test_new_key_is_fetched_of_a_provider_that_names_no_keys(
    browser: Browser, provider: Provider
) -> None:
    provider.names_keys = False
    await browser.logs_in()
    provider.rotate_key()

    assert (await browser.logs_in()).status_code == 200


async def test_bad_signature_fetches_the_keys_once(browser: Browser, provider: Provider) -> None:
    provider.names_keys = False
    await browser.logs_in()
    stranger = RSAKey.generate_key(2048)
    provider.sign = lambda claims: signed(claims, {"alg": "RS256"}, stranger)

    response = await browser.logs_in()

    assert (response.status_code, response.json()["code"]) == (401, "login_failed")
    assert provider.requests.count("/jwks") == 2


# ── People without a password ────────────────────────────────────────────────────────────────────


async def test_password_login_fails_like_that_of_nobody(
    browser: Browser, anonymous: AsyncClient
) -> None:
    await browser.logs_in()

    answers = []
    for email in (EMAIL, "nobody@example.com"):
        form = {"username": email, "password": "a horse, a staple and a battery"}
        response = await anonymous.post("/api/v1/auth/login", data=form)
        document = response.json()
        answers.append((response.status_code, {**document, "request_id": None, "timestamp": None}))

    assert answers[0] == answers[1]
    assert answers[0][0] == 401


async def test_password_can_be_set_by_e_mail(
    browser: Browser, anonymous: AsyncClient, outbox: Outbox
) -> None:
    await browser.logs_in()
    password = "a horse, a staple and a battery"
    await anonymous.post("/api/v1/auth/forgot-password", json={"email": EMAIL})
    reset = {"token": outbox.last_token, "new_password": password}
    await anonymous.post("/api/v1/auth/reset-password", json=reset)

    form = {"username": EMAIL, "password": password}
    response = await anonymous.post("/api/v1/auth/login", data=form)

    assert response.status_code == 200


# ── At the same time ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def real_app(real_database_url: str, settings: Settings) -> AsyncIterator[FastAPI]:
    """An application with several connections to its database."""
    url = Settings(database_url=real_database_url).database_url
    app = create_app(settings.model_copy(update={"database_url": url}))
    async with LifespanManager(app):
        yield app


async def test_of_parallel_callbacks_with_one_state_one_logs_in(real_app: FastAPI) -> None:
    browser = Browser(real_app)
    callback = await browser.agrees(await browser.begins())

    responses = await asyncio.gather(*(browser.comes_back(callback) for _ in range(6)))

    assert sorted(response.status_code for response in responses) == [200, *[400] * 5]


async def test_parallel_first_logins_of_one_person_make_one_account(real_app: FastAPI) -> None:
    browsers = [Browser(real_app) for _ in range(4)]
    callbacks = [await browser.agrees(await browser.begins()) for browser in browsers]

    responses = await asyncio.gather(
        *(
            browser.comes_back(callback)
            for browser, callback in zip(browsers, callbacks, strict=True)
        )
    )

    assert [response.status_code for response in responses] == [200] * 4
    assert [await count(real_app, table) for table in (User, Identity, LoginSession)] == [1, 1, 1]
