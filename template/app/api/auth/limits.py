"""Limits on logins and the like, by network address and by account."""

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

# Prefixes of IPv6 by which clients are counted, and how many times the limit they have. A client
# usually has a /64; a site, or whoever rents a server, has a /48.
_IPV6_PREFIXES: Final = {64: 1, 48: 2}
_Result = TypeVar("_Result")
_log = structlog.get_logger("app.security")


class AuthLimits:
    """The limits on one request to the routes of authentication."""

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
        """Count this attempt on an account; that on its network address is counted already.

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
        """Forget the wrong passwords, since the right one or a reset followed."""
        limit = self._settings.rate_limit_login_failures
        await self._limiter.clear(limit, "password", _digest(account))

    async def allows_mail(self, address: str) -> bool:
        """Count a requested e-mail, and return whether to send it.

        The client is not told: the answer is the same for every address.
        """
        try:
            await self._limiter.hit(self._settings.rate_limit_mail, "mail", _digest(address))
        except RateLimitedError:
            _log.warning("email_limit_reached")
            return False
        return True

    async def while_connected(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Return the result of the work, which is cancelled when the client hangs up.

        Raises:
            UnavailableError: the client hung up, so that nobody reads this.
        """
        return await while_connected(self._request, work)


def _digest(account: str) -> str:
    # The storage of the counts need not know who made the attempts.
    return hashlib.sha256(account.encode()).hexdigest()


def _networks_of(request: Request) -> dict[str, int]:
    """Return the client's networks, and how many times the limit each has.

    Behind a trusted proxy, uvicorn has put the client's address in place of the proxy's.
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
