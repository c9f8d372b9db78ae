"""How often someone may try to log in and the like, by network address and by account."""

import hashlib
from ipaddress import IPv6Address, ip_address, ip_network

from fastapi import Request

from app.core.rate_limiter import RateLimiter

# A client with IPv6 usually holds a whole /64.
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
            RateLimitedError: there were too many from this address, or on this account.
        """
        await self._limiter.hit(self._limit, self._route, "address", self._address)
        if account is not None:
            await self.hit_account(account)

    async def hit_account(self, account: str) -> None:
        """Count this attempt on an account; that on its network address is counted already.

        Raises:
            RateLimitedError: there were too many.
        """
        # A digest: what counts attempts need not know who made them.
        digest = hashlib.sha256(account.encode()).hexdigest()
        await self._limiter.hit(self._limit, self._route, "account", digest)


def _network_of(request: Request) -> str:
    """Return where the client connects from; behind a trusted proxy, uvicorn has put it in."""
    host = request.client.host if request.client else "unknown"
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(ip_network((address, _PREFIX_OF_ONE_CLIENT), strict=False))
    return str(address)
