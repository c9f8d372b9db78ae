"""E-mail: rendered from `templates/`, sent by SMTP."""

from email.message import EmailMessage
from pathlib import Path
from typing import Final

import aiosmtplib
import structlog
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from app.core.settings import Settings

# Seconds for a whole delivery.
_PATIENCE: Final = 20
_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(),
    keep_trailing_newline=True,
    lstrip_blocks=True,
    trim_blocks=True,
    undefined=StrictUndefined,
)
_logger = structlog.get_logger(__name__)


class Mailer:
    """Sends e-mail; without a mail server, prints it in development."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def write(self, to: str, template: str, **values: object) -> EmailMessage:
        """Return the message; the template begins with its subject."""
        page = _templates.get_template(f"{template}.txt")
        text = page.render(values, frontend_url=self._settings.frontend_url)
        subject, _, content = text.partition("\n\n")
        message = EmailMessage()
        message["From"] = self._settings.smtp_from
        message["To"] = to
        message["Subject"] = subject.removeprefix("Subject: ")
        message.set_content(content)
        return message

    async def send(self, to: str, template: str, **values: object) -> None:
        """Send the message of a template. A failure is logged and not raised."""
        try:
            await self.deliver(self.write(to, template, **values))
        except (OSError, TimeoutError, aiosmtplib.SMTPException) as error:
            _logger.warning("email_failed", template=template, cause=type(error).__name__)

    async def deliver(self, message: EmailMessage) -> None:
        """Hand the message to the mail server."""
        settings = self._settings
        password = settings.smtp_password
        if settings.smtp_host is None:
            self._show(message)
            return
        await aiosmtplib.send(
            message,
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            username=settings.smtp_username,
            password=password.get_secret_value() if password else None,
            use_tls=settings.smtp_security == "tls",
            # None: encrypt where the server offers it.
            start_tls={"starttls": True, "opportunistic": None}.get(settings.smtp_security, False),
            timeout=_PATIENCE,
        )

    def _show(self, message: EmailMessage) -> None:
        if self._settings.environment.is_deployed:
            # Messages are never logged: a reader of the log could take over accounts.
            _logger.warning("email_not_sent", reason="SMTP_HOST is not set")
            return
        text = f"\nTo: {message['To']}\nSubject: {message['Subject']}\n\n{message.get_content()}"
        print(text, flush=True)  # noqa: T201, it is the console
