"""Users to test with: accounts, logged in, and the e-mail they get."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from functools import cache
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from httpx import AsyncClient, Response
from sqlmodel import col

from app.core.security.passwords import get_hasher
from app.core.settings import Settings
from app.models import LoginSession, Role, User
from app.services.auth import sessions
from app.services.auth.accounts import AccountService
from app.services.auth.mailer import Mailer
from app.services.auth.sessions import Client
from tests.support.clients import client_of

PASSWORD = "a horse, a staple and a battery"
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")


@dataclass
class Account:
    """A user who has logged in, and what they do with a client of their own."""

    app: FastAPI
    id: UUID
    email: str
    access_token: str
    refresh_token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token}"}

    def client(self) -> AsyncClient:
        return client_of(self.app, headers=self.headers)

    async def sends(self, method: str, path: str, **content: Any) -> Response:
        async with self.client() as client:
            return await client.request(method, path, **content)

    async def creates_item(self, title: str) -> dict[str, Any]:
        response = await self.sends("POST", "/api/v1/items", json={"title": title})
        item: dict[str, Any] = response.json()
        return item

    async def logged_in_long_ago(self) -> None:
        """Let the login be older than sensitive changes allow."""
        past = datetime.now(UTC) - sessions.RECENT
        mine = sa.update(LoginSession).where(col(LoginSession.user_id) == self.id)
        async with self.app.state.database.transaction() as connection:
            await connection.execute(mine.values(created_at=past))

    async def is_let_in(self) -> bool:
        response = await self.sends("GET", "/api/v1/users/me")
        assert response.status_code in {200, 401}
        return response.status_code == 200


def accounts_of(app: FastAPI) -> AccountService:
    state = app.state
    return AccountService(state.database, state.settings, state.tokens, state.mailer)


@cache
def hash_of_password() -> str:
    """Return the hash of `PASSWORD` that the application would keep."""
    return get_hasher(*Settings().password_hash_cost).hash(PASSWORD)


async def new_account(app: FastAPI, email: str, **columns: Any) -> Account:
    """Insert a user, and log them in."""
    user = {"id": uuid4(), "email": email, "hashed_password": hash_of_password(), **columns}
    async with app.state.database.transaction() as connection:
        await connection.execute(sa.insert(User), user)
    return await logged_in(app, user["id"], email)


async def logged_in(app: FastAPI, user_id: UUID, email: str) -> Account:
    """Begin a session, as a login does when the password was right."""
    accounts = accounts_of(app)
    async with app.state.database.transaction() as connection:
        session = await sessions.begin(connection, app.state.settings, user_id, Client())
    assert session is not None
    pair = accounts.issue_tokens(session)
    return Account(app, user_id, email, pair.access_token, pair.refresh_token)


@pytest.fixture
async def alice(app: FastAPI) -> Account:
    return await new_account(app, "alice@example.com")


@pytest.fixture
async def bob(app: FastAPI) -> Account:
    return await new_account(app, "bob@example.com")


@pytest.fixture
async def admin(app: FastAPI) -> Account:
    return await new_account(app, "admin@example.com", role=Role.ADMIN)


@pytest.fixture
async def client(alice: Account) -> AsyncIterator[AsyncClient]:
    """A client that may do all that an ordinary caller may: Alice's."""
    async with alice.client() as client:
        yield client


class Outbox(Mailer):
    """Keeps what would be sent."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.messages: list[EmailMessage] = []

    async def deliver(self, message: EmailMessage) -> None:
        self.messages.append(message)

    @property
    def last_token(self) -> str:
        """The token of the last message that has one."""
        tokens = [_TOKEN.search(message.get_content()) for message in self.messages]
        return [token[0] for token in tokens if token][-1]

    @property
    def sent(self) -> list[tuple[str, str]]:
        """Whom each message is to, and its subject."""
        return [(message["To"], message["Subject"]) for message in self.messages]


@pytest.fixture
def outbox(app: FastAPI) -> Outbox:
    outbox = Outbox(app.state.settings)
    app.state.mailer = outbox
    return outbox
