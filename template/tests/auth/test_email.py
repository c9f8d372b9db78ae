"""E-mail: what is written, how it is sent, and what becomes of a failure."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
import structlog
from fastapi import FastAPI
from httpx import AsyncClient
from pydantic import SecretStr, ValidationError

from app.core.settings import Environment, Settings
from app.core.settings.mail import MailSettings
from app.services.auth.mailer import Mailer
from tests.support.accounts import PASSWORD, Account, Outbox

NEW = {"email": "carol@example.com", "password": PASSWORD, "full_name": "Carol\nBcc: x"}
SIGN_UP = "/api/v1/auth/sign-up"


@dataclass
class MailServer:
    """An SMTP server, as little of one as takes a message."""

    port: int = 0
    refuses: bool = False
    commands: list[str] = field(default_factory=list)
    messages: list[EmailMessage] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 test\r\n")
        while line := (await reader.readline()).decode().strip():
            self.commands.append(line)
            verb = line.split()[0].upper()
            if verb == "DATA":
                writer.write(b"354 go on\r\n")
                content = (await reader.readuntil(b"\r\n.\r\n"))[:-5]
                self.messages.append(message_from_bytes(content, policy=policy.default))
            if verb == "EHLO":
                writer.write(b"250-test\r\n250 AUTH PLAIN\r\n")
            elif verb == "AUTH":
                writer.write(b"235 welcome\r\n")
            elif verb == "RCPT" and self.refuses:
                writer.write(b"550 nobody here\r\n")
            else:
                writer.write(b"221 bye\r\n" if verb == "QUIT" else b"250 ok\r\n")
            if verb == "QUIT":
                break
        writer.close()


@pytest.fixture
async def mail_server() -> AsyncIterator[MailServer]:
    mail_server = MailServer()
    server = await asyncio.start_server(mail_server.serve, "127.0.0.1", 0)
    mail_server.port = server.sockets[0].getsockname()[1]
    async with server:
        yield mail_server


def mailer(server: MailServer, **values: Any) -> Mailer:
    return Mailer(Settings(smtp_host="127.0.0.1", smtp_port=server.port, **values))


# ── What is written ──────────────────────────────────────────────────────────────────────────────


async def test_new_user_is_asked_to_confirm_the_address(
    anonymous: AsyncClient, outbox: Outbox
) -> None:
    await anonymous.post(SIGN_UP, json=NEW)

    (message,) = outbox.messages
    assert message["To"] == "carol@example.com"
    assert message["Subject"] == "Confirm your e-mail address"
    assert outbox.last_token in message.get_content()


async def test_name_that_someone_chose_is_not_sent_to_a_stranger(
    anonymous: AsyncClient, outbox: Outbox
) -> None:
    await anonymous.post(SIGN_UP, json=NEW)

    assert "Carol" not in outbox.messages[0].as_string()


@pytest.mark.parametrize("template", ["reset_password", "verify_email"])
async def test_link_leads_to_the_front_end_and_keeps_the_token_from_servers(template: str) -> None:
    outbox = Outbox(Settings(frontend_url="https://www.example.com/"))

    await outbox.send("alice@example.com", template, token="TOKEN", minutes=30, hours=48)

    path = template.replace("_", "-")
    assert f"https://www.example.com/{path}#token=TOKEN\n" in outbox.messages[0].get_content()


# ── How it is sent ───────────────────────────────────────────────────────────────────────────────


async def test_message_is_handed_to_the_mail_server(mail_server: MailServer) -> None:
    await mailer(mail_server, smtp_from="api@example.com").send(
        "alice@example.com", "reset_password", token="x" * 1000, minutes=30
    )

    (message,) = mail_server.messages
    assert (message["From"], message["To"]) == ("api@example.com", "alice@example.com")
    assert "x" * 1000 in message.get_content()
    assert not any(command.startswith("AUTH") for command in mail_server.commands)


async def test_mail_server_is_told_who_sends(mail_server: MailServer) -> None:
    credentials = {"smtp_username": "api", "smtp_password": SecretStr("hunter2")}

    await mailer(mail_server, **credentials).send("alice@example.com", "password_changed")

    assert any(command.startswith("AUTH") for command in mail_server.commands)
    assert len(mail_server.messages) == 1


async def test_message_is_not_sent_in_the_clear_where_encryption_is_asked_for(
    mail_server: MailServer,
) -> None:
    await mailer(mail_server, smtp_security="starttls").send(
        "alice@example.com", "password_changed"
    )

    assert mail_server.messages == []


@pytest.mark.parametrize(
    ("environment", "port", "security"),
    [
        ("development", 587, "opportunistic"),
        ("staging", 587, "starttls"),
        ("production", 25, "starttls"),
        ("production", 465, "tls"),
    ],
)
def test_deployed_service_encrypts_e_mail(environment: str, port: int, security: str) -> None:
    settings = MailSettings(
        environment=environment,
        smtp_host="mail.example.com",
        smtp_port=port,
        smtp_from="api@example.com",
    )

    assert settings.smtp_security == security


@pytest.mark.parametrize(
    "value",
    [
        "www.example.com",
        "javascript:alert(1)",
        "https://",
        "https://www.example.com/?a=b",
        "https://www.example.com/#a",
        "https://www.example.com:0",
        "https://www example.com",
    ],
)
def test_front_end_is_a_web_address(value: str) -> None:
    with pytest.raises(ValidationError, match="frontend_url"):
        Settings(frontend_url=value)


@pytest.mark.parametrize(
    "value", ["smtp://mail.example.com", "mail.example.com:587", "mail example com", "a@b", " "]
)
def test_mail_server_is_named_without_its_port(value: str) -> None:
    with pytest.raises(ValidationError, match="smtp_host"):
        Settings(smtp_host=value)


@pytest.mark.parametrize("value", ["mailpit", "mail.example.com", "192.0.2.1", "2001:db8::1"])
def test_mail_server_is_a_name_or_an_address(value: str) -> None:
    assert Settings(smtp_host=value).smtp_host == value


@pytest.mark.parametrize(
    "value", ["My API", "example.com", "a@", "@b", "a@b, c@d", "A <a@b>\nX: y"]
)
def test_sender_is_one_address(value: str) -> None:
    with pytest.raises(ValidationError, match="smtp_from"):
        Settings(smtp_from=value)


def test_sender_may_have_a_name() -> None:
    assert Settings(smtp_from="My API <api@example.com>").smtp_from == "My API <api@example.com>"


def test_deployed_service_names_a_sender() -> None:
    with pytest.raises(ValidationError, match="smtp_from"):
        Settings(environment="production", smtp_host="mail.example.com")


# ── What becomes of a failure ────────────────────────────────────────────────────────────────────


async def test_failure_to_send_does_not_fail_the_request(
    app: FastAPI, anonymous: AsyncClient
) -> None:
    app.state.mailer = Mailer(Settings(smtp_host="127.0.0.1", smtp_port=1))

    response = await anonymous.post(SIGN_UP, json=NEW)

    assert response.status_code == 201


async def test_failure_to_send_is_logged_without_the_address(mail_server: MailServer) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("info"))
    mail_server.refuses = True

    with structlog.testing.capture_logs() as events:
        await mailer(mail_server).send("alice@example.com", "password_changed")

    (event,) = events
    assert event["event"] == "email_failed"
    assert "alice" not in str(event)


async def test_message_is_printed_in_development(capsys: pytest.CaptureFixture[str]) -> None:
    await Mailer(Settings()).send("alice@example.com", "reset_password", token="TOKEN", minutes=30)

    printed = capsys.readouterr().out
    assert "To: alice@example.com" in printed
    assert "TOKEN" in printed


async def test_deployed_service_without_a_mail_server_prints_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    deployed = Settings().model_copy(update={"environment": Environment.PRODUCTION})

    await Mailer(deployed).send("alice@example.com", "reset_password", token="TOKEN", minutes=30)

    assert "TOKEN" not in capsys.readouterr().out


async def test_deployed_service_without_a_mail_server_promises_no_e_mail(
    app: FastAPI, anonymous: AsyncClient, alice: Account
) -> None:
    deployed = {"environment": Environment.PRODUCTION}
    app.state.settings = app.state.settings.model_copy(update=deployed)

    responses = [
        await anonymous.post("/api/v1/auth/forgot-password", json={"email": alice.email}),
        await alice.sends("POST", "/api/v1/auth/verify-email/resend"),
    ]

    assert [response.status_code for response in responses] == [202, 202]
    assert {response.json()["detail"] for response in responses} == {
        "This service sends no e-mail: it has no mail server."
    }


def test_deployed_service_without_a_mail_server_cannot_require_confirmed_addresses() -> None:
    with pytest.raises(ValidationError, match="require_verified_email"):
        Settings(environment="production", require_verified_email=True)
