"""How often someone may try, by network address and by account."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from pydantic import ValidationError
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.core.rate_limiter import RateLimiter
from app.core.settings import Settings
from app.schemas.auth import UserRead
from tests.support.accounts import PASSWORD, Account, Outbox, accounts_of
from tests.support.clients import client_of

WRONG = "not the password of anyone"
FORGOT = "/api/v1/auth/forgot-password"
LIMITED: dict[str, tuple[str, dict[str, Any]]] = {
    "login": (
        "/api/v1/auth/login",
        {"data": {"username": "alice@example.com", "password": WRONG}},
    ),
    "sign-up": (
        "/api/v1/auth/sign-up",
        {"json": {"email": "alice@example.com", "password": PASSWORD}},
    ),
    "refresh": ("/api/v1/auth/refresh", {"json": {"refresh_token": "x"}}),
    "forgot": ("/api/v1/auth/forgot-password", {"json": {"email": "alice@example.com"}}),
    "reset": (
        "/api/v1/auth/reset-password",
        {"json": {"token": "x", "new_password": PASSWORD}},
    ),
    "verify": ("/api/v1/auth/verify-email", {"json": {"token": "x"}}),
}


@pytest.fixture
def settings() -> Settings:
    return Settings(rate_limit_auth="2/minute")


def client_from(app: Any, address: str) -> AsyncClient:
    return client_of(app, client=(address, 1234))


async def log_in(client: AsyncClient, email: str, **headers: str) -> Response:
    form = {"username": email, "password": WRONG}
    return await client.post("/api/v1/auth/login", data=form, headers=headers)


@pytest.mark.parametrize("route", LIMITED)
async def test_address_is_limited(app: FastAPI, route: str) -> None:
    path, content = LIMITED[route]
    client = client_from(app, "192.0.2.1")

    responses = [await client.post(path, **content) for _ in range(3)]

    assert [response.status_code == 429 for response in responses] == [False, False, True]
    assert responses[2].json()["code"] == "rate_limited"
    assert 1 <= int(responses[2].headers["Retry-After"]) <= 60


@pytest.mark.parametrize("route", ["login", "sign-up", "forgot"])
async def test_account_is_limited_from_everywhere(app: FastAPI, route: str) -> None:
    path, content = LIMITED[route]

    responses = [
        await client_from(app, f"192.0.2.{number}").post(path, **content) for number in range(3)
    ]

    assert [response.status_code == 429 for response in responses] == [False, False, True]


async def test_account_is_limited_whether_or_not_there_is_one(app: FastAPI, alice: Account) -> None:
    statuses = [
        [
            (await log_in(client_from(app, f"192.0.2.{number}"), email)).status_code
            for number in range(3)
        ]
        for email in (alice.email, "nobody@example.com")
    ]

    assert statuses == [[401, 401, 429]] * 2


async def test_account_is_limited_whichever_way_it_is_written(app: FastAPI) -> None:
    emails = ["alice@example.com", "ALICE@example.com", "Alice@Example.com"]

    responses = [
        await log_in(client_from(app, f"192.0.2.{number}"), email)
        for number, email in enumerate(emails)
    ]

    assert responses[2].status_code == 429


async def test_session_is_limited_from_everywhere(app: FastAPI, alice: Account) -> None:
    body = {"refresh_token": alice.refresh_token}

    responses = [
        await client_from(app, f"192.0.2.{number}").post("/api/v1/auth/refresh", json=body)
        for number in range(3)
    ]

    assert [response.status_code for response in responses] == [200, 401, 429]


@pytest.mark.parametrize("kind", ["reset", "verify"])
async def test_token_of_an_e_mail_is_limited_from_everywhere(
    app: FastAPI, alice: Account, outbox: Outbox, kind: str
) -> None:
    path, content = LIMITED[kind]
    if kind == "reset":
        await accounts_of(app).send_reset(alice.email)
    else:
        user = await alice.sends("GET", "/api/v1/users/me")
        await accounts_of(app).send_verification(UserRead.model_validate(user.json()))
    body = content["json"] | {"token": outbox.last_token}

    responses = [
        await client_from(app, f"192.0.2.{number}").post(path, json=body) for number in range(3)
    ]

    assert [response.status_code for response in responses] == [204, 400, 429]


async def test_guesses_of_the_current_password_are_limited(alice: Account) -> None:
    body = {"current_password": WRONG, "new_password": PASSWORD}

    responses = [
        await alice.sends("POST", "/api/v1/users/me/password", json=body) for _ in range(3)
    ]

    assert [response.status_code for response in responses] == [400, 400, 429]


async def test_one_address_does_not_use_up_another(app: FastAPI) -> None:
    for _ in range(3):
        await log_in(client_from(app, "192.0.2.1"), "alice@example.com")

    response = await log_in(client_from(app, "192.0.2.2"), "bob@example.com")

    assert response.status_code == 401


async def test_network_of_ipv6_counts_as_one_address(app: FastAPI) -> None:
    addresses = ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3", "2001:db8:0:1::1"]

    responses = [
        await log_in(client_from(app, address), f"{number}@example.com")
        for number, address in enumerate(addresses)
    ]

    assert [response.status_code for response in responses] == [401, 401, 429, 401]


async def test_client_without_an_address_is_limited(app: FastAPI) -> None:
    client = client_from(app, "unix socket")

    responses = [await log_in(client, f"{number}@example.com") for number in range(3)]

    assert [response.status_code for response in responses] == [401, 401, 429]


@pytest.mark.parametrize(
    "limit",
    [
        "many",
        "0/minute/x",
        "10 per fortnight",
        "0/minute",
        "-1/minute",
        "10/minute;20/hour",
        f"10 per {10**30} years",
    ],
)
def test_limit_of_another_form_is_refused(limit: str) -> None:
    with pytest.raises(ValidationError, match="rate_limit_auth"):
        Settings(rate_limit_auth=limit)


async def test_limits_can_be_turned_off(app: FastAPI) -> None:
    app.state.rate_limiter = RateLimiter(Settings(rate_limit_enabled=False))

    responses = [await log_in(client_from(app, "192.0.2.1"), "a@example.com") for _ in range(3)]

    assert {response.status_code for response in responses} == {401}


# ── By purpose ───────────────────────────────────────────────────────────────────────────────────


async def test_site_of_ipv6_has_twice_the_limit_of_one_network(app: FastAPI) -> None:
    responses = [
        await log_in(client_from(app, f"2001:db8:0:{number}::1"), f"{number}@example.com")
        for number in range(5)
    ]
    elsewhere = await log_in(client_from(app, "2001:db8:1::1"), "elsewhere@example.com")

    assert [response.status_code for response in responses] == [401, 401, 401, 401, 429]
    assert elsewhere.status_code == 401


@pytest.mark.parametrize("route", ["login", "sign-up", "refresh"])
async def test_route_can_have_a_limit_of_its_own(app: FastAPI, route: str) -> None:
    name = f"rate_limit_{route.replace('-', '_')}"
    app.state.settings = app.state.settings.model_copy(update={name: "1/minute"})
    path, content = LIMITED[route]
    client = client_from(app, "192.0.2.1")

    responses = [await client.post(path, **content) for _ in range(2)]

    assert [response.status_code == 429 for response in responses] == [False, True]


def test_routes_have_the_general_limit_by_default() -> None:
    settings = Settings(rate_limit_auth="7/minute", rate_limit_refresh="70/minute")

    assert (settings.rate_limit_login, settings.rate_limit_sign_up) == ("7/minute", "7/minute")
    assert settings.rate_limit_refresh == "70/minute"


async def test_address_gets_no_more_mail_than_it_may(
    app: FastAPI, outbox: Outbox, alice: Account
) -> None:
    changed = {"rate_limit_mail": "2/hour", "rate_limit_auth": "100/minute"}
    app.state.settings = app.state.settings.model_copy(update=changed)

    responses = [
        await client_from(app, f"192.0.2.{number}").post(FORGOT, json={"email": alice.email})
        for number in range(3)
    ]
    resent = await alice.sends("POST", "/api/v1/auth/verify-email/resend")

    assert [response.status_code for response in [*responses, resent]] == [202] * 4
    assert len({response.content for response in responses}) == 1
    assert len(outbox.messages) == 2


# ── Wrong passwords, one after the other ─────────────────────────────────────────────────────────


@pytest.fixture
def two_failures(app: FastAPI) -> None:
    """Allow two wrong passwords in an hour; nothing else is limited."""
    changed = {"rate_limit_login_failures": "2/hour;3/day", "rate_limit_login": "100/minute"}
    app.state.settings = app.state.settings.model_copy(
        update=changed | {"rate_limit_auth": "100/minute"}
    )


async def log_in_rightly(app: FastAPI, email: str) -> Response:
    form = {"username": email, "password": PASSWORD}
    return await client_from(app, "198.51.100.1").post("/api/v1/auth/login", data=form)


@pytest.mark.usefixtures("two_failures")
async def test_wrong_passwords_have_to_wait_from_everywhere(app: FastAPI, alice: Account) -> None:
    responses = [
        await log_in(client_from(app, f"192.0.2.{number}"), alice.email) for number in range(3)
    ]

    assert [response.status_code for response in responses] == [401, 401, 429]
    assert int(responses[2].headers["Retry-After"]) > 60
    assert (await log_in_rightly(app, alice.email)).status_code == 429


@pytest.mark.usefixtures("two_failures")
async def test_right_password_ends_the_count(app: FastAPI, alice: Account) -> None:
    statuses = []
    for number in range(3):
        statuses.append(
            (await log_in(client_from(app, f"192.0.2.{number}"), alice.email)).status_code
        )
        statuses.append((await log_in_rightly(app, alice.email)).status_code)

    assert statuses == [401, 200] * 3


@pytest.mark.usefixtures("two_failures")
async def test_reset_of_the_password_ends_the_count(
    app: FastAPI, outbox: Outbox, anonymous: AsyncClient, alice: Account
) -> None:
    for number in range(3):
        await log_in(client_from(app, f"192.0.2.{number}"), alice.email)
    await anonymous.post(FORGOT, json={"email": alice.email})
    body = {"token": outbox.last_token, "new_password": PASSWORD}
    await anonymous.post("/api/v1/auth/reset-password", json=body)

    assert (await log_in_rightly(app, alice.email)).status_code == 200


@pytest.mark.usefixtures("two_failures")
async def test_wrong_current_passwords_have_to_wait(alice: Account) -> None:
    body = {"current_password": WRONG, "new_password": PASSWORD}
    path = "/api/v1/users/me/password"

    responses = [await alice.sends("POST", path, json=body) for _ in range(3)]

    assert [response.status_code for response in responses] == [400, 400, 429]


@pytest.mark.parametrize("limits", ["many", "0/hour", "20/hour;many", "20/hour;0/day"])
def test_limits_of_another_form_are_refused(limits: str) -> None:
    with pytest.raises(ValidationError, match="rate_limit_login_failures"):
        Settings(rate_limit_login_failures=limits)


# ── Behind a proxy: uvicorn puts the client it names in its place ────────────────────────────────


@pytest.fixture
def behind_proxy(app: Any) -> Any:
    """The application as uvicorn serves it with FORWARDED_ALLOW_IPS=192.0.2.1."""
    return ProxyHeadersMiddleware(app, trusted_hosts="192.0.2.1")


async def test_client_that_a_trusted_proxy_names_is_counted(behind_proxy: Any) -> None:
    client = client_from(behind_proxy, "192.0.2.1")

    responses = [
        await log_in(client, f"{number}@example.com", **{"X-Forwarded-For": f"198.51.100.{number}"})
        for number in range(3)
    ]

    assert {response.status_code for response in responses} == {401}


async def test_client_cannot_choose_its_address(behind_proxy: Any) -> None:
    client = client_from(behind_proxy, "203.0.113.1")

    responses = [
        await log_in(client, f"{number}@example.com", **{"X-Forwarded-For": f"198.51.100.{number}"})
        for number in range(3)
    ]

    assert [response.status_code for response in responses] == [401, 401, 429]


async def test_client_cannot_choose_its_address_through_a_trusted_proxy(behind_proxy: Any) -> None:
    client = client_from(behind_proxy, "192.0.2.1")

    responses = [
        await log_in(
            client,
            f"{number}@example.com",
            **{"X-Forwarded-For": f"198.51.100.{number}, 203.0.113.1"},
        )
        for number in range(3)
    ]

    assert [response.status_code for response in responses] == [401, 401, 429]
