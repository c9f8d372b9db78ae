"""Settings of e-mail."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, SecretStr

from app.core.settings.base import Environment, SettingsGroup
from app.core.settings.http import NAME
from app.core.settings.urls import check_base_url

MailSecurity = Literal["starttls", "tls", "opportunistic", "none"]

# IPv6 has no brackets here.
_SERVER = re.compile(rf"{NAME}|[0-9a-f]*:[0-9a-f.]*(:[0-9a-f.]*)+", re.IGNORECASE)
_MAILBOX: Final = r"[^\s@<>,]+@[^\s@<>,]+"
_SENDER = re.compile(rf"{_MAILBOX}|[^<>\r\n]*<{_MAILBOX}>")
_NO_SENDER: Final = "no-reply@localhost"
# The port for implicit TLS (RFC 8314).
_SMTPS_PORT: Final = 465


def _check_server(host: str) -> str:
    if not _SERVER.fullmatch(host):
        raise ValueError("takes a name alone, as in smtp.example.com; SMTP_PORT takes the port")
    return host


def _check_sender(sender: str) -> str:
    if not _SENDER.fullmatch(sender):
        raise ValueError("must be an address, as in My API <api@example.com>")
    return sender


def _default_security(data: dict[str, Any]) -> MailSecurity:
    environment: Environment = data["environment"]
    if data["smtp_port"] == _SMTPS_PORT:
        return "tls"
    return "starttls" if environment.is_deployed else "opportunistic"


class MailSettings(SettingsGroup):
    """The mail server. Without one, e-mail is printed in development, and not sent elsewhere."""

    smtp_host: Annotated[str, AfterValidator(_check_server)] | None = None
    smtp_port: Annotated[int, Field(ge=1, le=65535)] = 587
    smtp_username: str | None = None
    smtp_password: SecretStr | None = None
    smtp_security: MailSecurity = Field(default_factory=_default_security)
    smtp_from: Annotated[str, AfterValidator(_check_sender)] = _NO_SENDER
    # The front end that links in e-mails lead to, as in https://www.example.com.
    frontend_url: Annotated[str, AfterValidator(check_base_url)] | None = None
    # Whether `VerifiedUser` refuses users who have not confirmed their address.
    require_verified_email: bool = False
    # Age in days at which `purge` deletes accounts that were never verified; 0 keeps them.
    unverified_account_days: NonNegativeInt = 30

    @property
    def sends_mail(self) -> bool:
        """Whether e-mail is sent, or in development printed."""
        return self.smtp_host is not None or not self.environment.is_deployed

    def faults(self) -> Iterator[tuple[str, str]]:
        """Require a sender when deployed, and a mail server if addresses must be verified."""
        yield from super().faults()
        if self.environment.is_deployed and self.require_verified_email and not self.smtp_host:
            yield "require_verified_email", "needs SMTP_HOST: nobody could verify an address"
        if self.environment.is_deployed and self.smtp_host and self.smtp_from == _NO_SENDER:
            yield "smtp_from", "is missing: the address that e-mail comes from"
