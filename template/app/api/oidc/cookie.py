"""The cookie by which a browser that was sent to a provider is recognised."""

from fastapi import Request, Response

from app.core.settings import Settings
from app.services.oidc.login import LOGIN_LIFETIME


class LoginCookie:
    """One secret for each browser: of several logins begun in it, the last one counts."""

    def __init__(self, request: Request, settings: Settings) -> None:
        self._is_secure = settings.public_url.startswith("https://")
        # The prefix makes browsers refuse one that another host of the domain, or a page without
        # TLS, would set (RFC 6265bis section 4.1.3.2).
        self._name = "__Host-oidc_login" if self._is_secure else "oidc_login"
        self.value = request.cookies.get(self._name)

    def set(self, response: Response, secret: str) -> None:
        """Let the browser keep the secret for as long as the login may take."""
        response.set_cookie(
            self._name,
            secret,
            max_age=int(LOGIN_LIFETIME.total_seconds()),
            path="/",
            secure=self._is_secure,
            httponly=True,
            # The provider's redirect is a navigation from another site, with which Strict would
            # not send it.
            samesite="lax",
        )

    def clear(self, response: Response) -> None:
        """Let the browser forget the secret."""
        response.delete_cookie(
            self._name, path="/", secure=self._is_secure, httponly=True, samesite="lax"
        )
