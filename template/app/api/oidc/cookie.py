"""The cookie that ties a login with a provider to the browser that began it."""

from fastapi import Request, Response

from app.core.settings import Settings
from app.services.oidc.login import LOGIN_LIFETIME


class LoginCookie:
    """One secret per browser: if several logins are begun in it, only the last one can finish."""

    def __init__(self, request: Request, settings: Settings) -> None:
        self._is_secure = settings.public_url.startswith("https://")
        # Browsers reject a cookie with this prefix if another host of the domain, or a page without
        # TLS, sets it (RFC 6265bis section 4.1.3.2).
        self._name = "__Host-oidc_login" if self._is_secure else "oidc_login"
        self.value = request.cookies.get(self._name)

    def set(self, response: Response, secret: str) -> None:
        """Set the cookie for as long as the login may take."""
        response.set_cookie(
            self._name,
            secret,
            max_age=int(LOGIN_LIFETIME.total_seconds()),
            path="/",
            secure=self._is_secure,
            httponly=True,
            # The provider redirects from another site; with Strict, the browser would not send the
            # cookie.
            samesite="lax",
        )

    def clear(self, response: Response) -> None:
        """Delete the cookie."""
        response.delete_cookie(
            self._name, path="/", secure=self._is_secure, httponly=True, samesite="lax"
        )
