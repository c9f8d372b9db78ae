"""How often someone may try to log in and the like, by network address and by account."""

import hashlib
import ipaddress

from fastapi import Request

from app.core.rate_limits import RateLimiter

# Whoever has one address of IPv6 has as many as a /64 has.
_PREFIX_OF_ONE_CLIENT = 64


class AuthLimits:
    """The limits on one request to the routes of authentication."""

    def __init__(self, request: Request, limiter: RateLimiter, limit: str) -> None:
        self._limiter = limiter
        self._limit = limit
        self._route = request.scope["route"].path
        self._address = _network_of(request)

    async def hit(self, account: str | None = None) -> None:
        """Count this attempt.

        Raises:
            RateLimitedError: there were too many from this address, or upon this account.
        """
        await self._limiter.hit(self._limit, self._route, "address", self._address)
        if account is not None:
            await self.hit_account(account)

    async def hit_account(self, account: str) -> None:
        """Count this attempt upon an account, of which its address has been counted already.

        Raises:
            RateLimitedError: there were too many.
        """
        # A digest: what counts attempts need not know who made them.
        digest = hashlib.sha256(account.encode()).hexdigest()
        await self._limiter.hit(self._limit, self._route, "account", digest)


def _network_of(request: Request) -> str:
    """Return who connects: a proxy that is trusted has put the client in its place."""
    host = request.client.host if request.client else "unknown"
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 6 and address.ipv4_mapped is None:  # noqa: PLR2004, IPv6
        return str(ipaddress.ip_network((address, _PREFIX_OF_ONE_CLIENT), strict=False))
    return str(address)
