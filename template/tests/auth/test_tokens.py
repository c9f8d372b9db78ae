"""Tokens that are not ours, not for this, or not valid now. RFC 8725 names most of them."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from fastapi import FastAPI, WebSocket
from httpx import AsyncClient
from joserfc.jwk import RSAKey

from app.api.auth.dependencies import CurrentUser
from app.core.security.keys import load_keys
from app.core.security.pem import MIN_BITS
from app.core.security.tokens import LEEWAY, Claims, Tokens, TokenType
from app.schemas.auth import UserRead
from tests.http.test_websockets import messages
from tests.support.accounts import Account, Outbox, accounts_of

OWN = RSAKey.generate_key(MIN_BITS)
ME = "/api/v1/users/me"
NEXT = "another horse and its battery"


def encoded(value: bytes | dict[str, Any]) -> str:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def decoded(part: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=="))
    return content


class Forger:
    """Has a valid token and the public key; for the sake of some tests, the private one too."""

    def __init__(self, app: FastAPI, alice: Account) -> None:
        header, claims, self.signature = alice.access_token.split(".")
        self.header = decoded(header)
        self.claims = decoded(claims)
        self.alice = alice
        self.keys = load_keys(app.state.settings)

    def payload(self, header: dict[str, Any], claims: dict[str, Any], without: str = "") -> str:
        claims = {**self.claims, **claims}
        claims.pop(without, None)
        return f"{encoded({**self.header, **header})}.{encoded(claims)}"

    def signed(
        self, key: RSAKey | None = None, *, without: str = "", header: Any = None, **claims: Any
    ) -> str:
        """Sign with the service's own key, unless another is given."""
        payload = self.payload(header or {}, claims, without)
        private = (key or self.keys.signing).private_key
        assert private is not None
        return f"{payload}.{encoded(private.sign(payload.encode(), PKCS1v15(), SHA256()))}"

    def with_public_key_as_secret(self) -> str:
        payload = self.payload({"alg": "HS256"}, {})
        secret = self.keys.signing.as_pem(private=False)
        return f"{payload}.{encoded(hmac.digest(secret, payload.encode(), hashlib.sha256))}"

    def without_kid(self) -> str:
        del self.header["kid"]
        return self.signed()


NOW = int(time.time())
FORGERIES: dict[str, Callable[[Forger], str]] = {
    "alg none": lambda it: f"{it.payload({'alg': 'none'}, {})}.",
    "alg None": lambda it: f"{it.payload({'alg': 'None'}, {})}.{it.signature}",
    "no alg": lambda it: it.signed(header={"alg": None}),
    "HS256 with the public key": Forger.with_public_key_as_secret,
    "RS512": lambda it: it.signed(header={"alg": "RS512"}),
    "PS256": lambda it: it.signed(header={"alg": "PS256"}),
    "another key": lambda it: it.signed(OWN),
    "another key, its own kid": lambda it: it.signed(OWN, header={"kid": OWN.thumbprint()}),
    "kid that is a path": lambda it: it.signed(OWN, header={"kid": "../../../dev/null"}),
    "kid that is SQL": lambda it: it.signed(OWN, header={"kid": "' OR 1=1 --"}),
    "kid that is a number": lambda it: it.signed(header={"kid": 1}),
    "no kid": Forger.without_kid,
    "embedded jwk": lambda it: it.signed(OWN, header={"jwk": OWN.as_dict(private=False)}),
    "jku": lambda it: it.signed(OWN, header={"jku": "https://evil.example.com/jwks.json"}),
    "x5u": lambda it: it.signed(OWN, header={"x5u": "https://evil.example.com/key.pem"}),
    "crit": lambda it: it.signed(header={"crit": ["exp"]}),
    "crit of a header that is known": lambda it: it.signed(header={"crit": ["alg"]}),
    "crit of nothing": lambda it: it.signed(header={"crit": []}),
    "crit that is no list": lambda it: it.signed(header={"crit": 1}),
    "crit of what is no name": lambda it: it.signed(header={"crit": [[]]}),
    "crit of an unknown extension": lambda it: it.signed(header={"crit": ["x"], "x": 1}),
    "unknown header": lambda it: it.signed(header={"x": 1}),
    "unencoded payload": lambda it: it.signed(header={"b64": False, "crit": ["b64"]}),
    "another issuer": lambda it: it.signed(iss="https://evil.example.com"),
    "another audience": lambda it: it.signed(aud="another"),
    "audiences without ours": lambda it: it.signed(aud=["another", "one"]),
    "type refresh": lambda it: it.alice.refresh_token,
    "type unknown": lambda it: it.signed(type="admin"),
    "two types": lambda it: it.signed(type=["access", "refresh"]),
    "expired": lambda it: it.signed(exp=NOW - LEEWAY - 1),
    "exp that is text": lambda it: it.signed(exp=str(NOW + 900)),
    "exp that is infinite": lambda it: it.signed(exp=float("inf")),
    "exp that is no number": lambda it: it.signed(exp=float("nan")),
    "not valid yet": lambda it: it.signed(nbf=NOW + 900),
    "issued in the future": lambda it: it.signed(iat=NOW + 900),
    "sub that is no id": lambda it: it.signed(sub="alice@example.com"),
    "sub of another": lambda it: it.signed(sub=str(uuid4())),
    "sid of nobody": lambda it: it.signed(sid=str(uuid4())),
    "sid that is no id": lambda it: it.signed(sid=1),
    "changed claims": lambda it: f"{it.payload({}, {'sub': str(uuid4())})}.{it.signature}",
    "changed signature": lambda it: f"{it.payload({}, {})}.{encoded(bytes(256))}",
    "no signature": lambda it: f"{it.payload({}, {})}.",
    "two parts": lambda it: it.payload({}, {}),
    "five parts": lambda it: f"{it.signed()}.{encoded(b'{}')}.{encoded(b'{}')}",
    "claims that are a list": lambda it: f"{encoded(it.header)}.{encoded(b'[]')}.{it.signature}",
    "header that is a list": lambda it: f"{encoded(b'[]')}.{encoded(it.claims)}.{it.signature}",
    "deep nesting": lambda it: f"{encoded(b'[' * 100_000)}.{encoded(it.claims)}.{it.signature}",
    "no base64": lambda _: "!.!.!",
    "empty": lambda _: "",
    "long": lambda _: "a" * 100_000,
    "no iss": lambda it: it.signed(without="iss"),
    "no aud": lambda it: it.signed(without="aud"),
    "no sub": lambda it: it.signed(without="sub"),
    "no sid": lambda it: it.signed(without="sid"),
    "no jti": lambda it: it.signed(without="jti"),
    "no type": lambda it: it.signed(without="type"),
    "no iat": lambda it: it.signed(without="iat"),
    "no nbf": lambda it: it.signed(without="nbf"),
    "no exp": lambda it: it.signed(without="exp"),
}


@pytest.fixture
def forger(app: FastAPI, alice: Account) -> Forger:
    return Forger(app, alice)


async def test_forger_can_sign_what_is_let_in(anonymous: AsyncClient, forger: Forger) -> None:
    headers = {"Authorization": f"Bearer {forger.signed()}"}

    assert (await anonymous.get(ME, headers=headers)).status_code == 200


@pytest.mark.parametrize("kind", FORGERIES)
async def test_forged_token_is_refused(anonymous: AsyncClient, forger: Forger, kind: str) -> None:
    headers = {"Authorization": f"Bearer {FORGERIES[kind](forger)}"}

    response = await anonymous.get(ME, headers=headers)

    assert response.status_code == 401
    assert response.json()["code"] == "invalid_token"
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer  ", "Basic YWxpY2U6cGFzc3dvcmQ=", "Token x", "bearer\tx", "é", "\0"],
)
async def test_other_credentials_are_refused(anonymous: AsyncClient, authorization: str) -> None:
    headers = [(b"Authorization", authorization.encode())]

    response = await anonymous.get(ME, headers=headers)

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("is_first", [True, False])
async def test_two_credentials_are_refused(
    anonymous: AsyncClient, alice: Account, is_first: bool
) -> None:
    headers = [("Authorization", f"Bearer {alice.access_token}"), ("Authorization", "Bearer x")]

    response = await anonymous.get(ME, headers=headers if is_first else headers[::-1])

    assert response.status_code == 401


async def test_token_in_the_query_is_not_looked_at(anonymous: AsyncClient, alice: Account) -> None:
    response = await anonymous.get(ME, params={"access_token": alice.access_token})

    assert response.status_code == 401


async def test_clocks_may_differ_a_little(anonymous: AsyncClient, forger: Forger) -> None:
    late = forger.signed(exp=int(time.time()) - 1)

    response = await anonymous.get(ME, headers={"Authorization": f"Bearer {late}"})

    assert response.status_code == 200


# ── No type of token is taken for another ────────────────────────────────────────────────────────

USES: dict[TokenType, tuple[str, str, int]] = {
    TokenType.REFRESH: ("/api/v1/auth/refresh", "refresh_token", 401),
    TokenType.RESET: ("/api/v1/auth/reset-password", "token", 400),
    TokenType.VERIFY: ("/api/v1/auth/verify-email", "token", 400),
}


@pytest.mark.parametrize(
    ("kind", "use"), [(kind, use) for kind in TokenType for use in USES if kind != use]
)
async def test_token_is_accepted_for_its_own_use_only(
    anonymous: AsyncClient, alice: Account, outbox: Outbox, kind: TokenType, use: TokenType
) -> None:
    path, field, refused = USES[use]
    proper = await proper_claims(use, alice, outbox)

    body = {field: token_of(kind, alice, proper), "new_password": NEXT}
    response = await anonymous.post(path, json=body)

    assert response.status_code == refused
    assert response.json()["code"] == "invalid_token"
    assert await alice.is_let_in()


@pytest.mark.parametrize("kind", [TokenType.REFRESH, TokenType.RESET, TokenType.VERIFY])
async def test_other_tokens_give_no_access(
    anonymous: AsyncClient, alice: Account, kind: TokenType
) -> None:
    proper = alice.app.state.tokens.read(alice.access_token, TokenType.ACCESS)
    headers = {"Authorization": f"Bearer {token_of(kind, alice, proper)}"}

    response = await anonymous.get(ME, headers=headers)

    assert response.status_code == 401


async def proper_claims(use: TokenType, alice: Account, outbox: Outbox) -> Claims:
    """Return the claims of a token that is accepted for the use."""
    token = alice.refresh_token
    if use is TokenType.RESET:
        await accounts_of(alice.app).send_reset(alice.email)
        token = outbox.last_token
    if use is TokenType.VERIFY:
        user = UserRead.model_validate((await alice.sends("GET", ME)).json())
        await accounts_of(alice.app).send_verification(user)
        token = outbox.last_token
    claims: Claims = alice.app.state.tokens.read(token, use)
    return claims


def token_of(kind: TokenType, alice: Account, proper: Claims) -> str:
    """Return a token that has nothing wrong with it but its type."""
    tokens: Tokens = alice.app.state.tokens
    sid = tokens.read(alice.access_token, TokenType.ACCESS).session_id
    return tokens.issue(
        kind,
        alice.id,
        timedelta(minutes=1),
        token_id=proper.token_id,
        sid=str(sid),
        fingerprint=proper.fingerprint,
    )


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("token", ["", "x", "\ud800", "a.b.c", "x" * 5000, None, 1])
async def test_what_is_no_token_is_refused_everywhere(
    anonymous: AsyncClient, use: TokenType, token: object
) -> None:
    path, field, refused = USES[use]
    body = json.dumps({field: token, "new_password": NEXT})

    response = await anonymous.post(
        path, content=body, headers={"Content-Type": "application/json"}
    )

    assert response.status_code in {refused, 422}


async def test_websocket_without_a_token_is_refused_before_it_is_accepted(
    app: FastAPI, alice: Account
) -> None:
    @app.websocket("/socket")
    async def socket(websocket: WebSocket, user: CurrentUser) -> None:
        await websocket.accept()
        await websocket.send_text(str(user.id))

    refused = await messages(app, "/socket", {})
    [accepted, text] = await messages(
        app, "/socket", {"authorization": alice.headers["Authorization"]}
    )

    assert [(message["type"], message["code"]) for message in refused] == [
        ("websocket.close", 4401)
    ]
    assert accepted["type"] == "websocket.accept"
    assert text["text"] == str(alice.id)


async def test_refused_token_is_logged(anonymous: AsyncClient) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("info"))
    headers = {"Authorization": "Bearer not.a.token"}

    with structlog.testing.capture_logs() as events:
        await anonymous.get("/api/v1/users/me", headers=headers)

    assert [event["kind"] for event in events if event["event"] == "token_refused"] == ["access"]
    assert "not.a.token" not in str(events)
