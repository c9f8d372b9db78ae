"""Rate limits on the authentication routes, by network address and by account."""

import hashlib
from collections.abc import Coroutine
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Final, TypeVar

import structlog
from fastapi import Request

from app.api.auth.disconnect import while_connected
from app.core.errors import RateLimitedError
from app.core.rate_limiter import RateLimiter
from app.core.settings import Settings

# IPv6 clients are counted by these prefixes; the value multiplies the limit. A client usually has
# a /64; a site or a rented server often has a /48.
_IPV6_PREFIXES: Final = {64: 1, 48: 2}
_Result = TypeVar("_Result")
_log = structlog.get_logger("app.security")


class AuthLimits:
    """The rate limits on one request to an authentication route."""

    def __init__(self, request: Request, limiter: RateLimiter, settings: Settings) -> None:
        self._request = request
        self._limiter = limiter
        self._settings = settings
        self._route = request.scope["route"].path
        self._limit = {
            "login": settings.rate_limit_login,
            "sign-up": settings.rate_limit_sign_up,
            "refresh": settings.rate_limit_refresh,
        }.get(self._route.rpartition("/")[2], settings.rate_limit_auth)
        self._networks = _networks_of(request)

    async def hit(self, account: str | None = None) -> None:
        """Count this attempt.

        Raises:
            RateLimitedError: there were too many from this address, or on this account.
        """
        for network, factor in self._networks.items():
            await self._limiter.hit(self._limit, self._route, "address", network, factor=factor)
        if account is not None:
            await self.hit_account(account)

    async def hit_account(self, account: str) -> None:
        """Count this attempt on an account, after `hit` has counted it on the network address.

        Raises:
            RateLimitedError: there were too many.
        """
        await self._limiter.hit(self._limit, self._route, "account", _digest(account))

    async def hit_password(self, account: str) -> None:
        """Count a password for the account as wrong, until `clear_password`.

        Raises:
            RateLimitedError: there were too many, one after the other.
        """
        limit = self._settings.rate_limit_login_failures
        await self._limiter.hit(limit, "password", _digest(account))

    async def clear_password(self, account: str) -> None:
        """Reset the count of wrong passwords, after the right one or a password reset."""
        limit = self._settings.rate_limit_login_failures
        await self._limiter.clear(limit, "password", _digest(account))

    async def allows_mail(self, address: str) -> bool:
        """Count a requested e-mail, and return whether to send it.

        The response is the same either way, so that it does not reveal who has an account.
        """
        try:
            await self._limiter.hit(self._settings.rate_limit_mail, "mail", _digest(address))
        except RateLimitedError:
            _log.warning("email_limit_reached")
            return False
        return True

    async def while_connected(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Return the result of the work; cancel it if the client disconnects.

        Raises:
            UnavailableError: the client disconnected; it never receives this.
        """
        return await while_connected(self._request, work)


def _digest(account: str) -> str:
    # Store no e-mail addresses or user ids in the counters.
    return hashlib.sha256(account.encode()).hexdigest()


def _networks_of(request: Request) -> dict[str, int]:
    """Return the client's networks, each with the factor of its limit.

    Behind a trusted proxy, uvicorn has replaced the proxy's address with the client's.
    """
    host = request.client.host if request.client else "unknown"
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return {host: 1}
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return {
            str(ip_network((address, prefix), strict=False)): factor
            for prefix, factor in _IPV6_PREFIXES.items()
        }
    return {str(address): 1}
