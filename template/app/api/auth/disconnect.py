"""Work that stops when the client hangs up."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from app.core.errors import UnavailableError

_Result = TypeVar("_Result")


async def while_connected(request: Request, work: Coroutine[Any, Any, _Result]) -> _Result:
    """Return the result of the work, which is cancelled when the client hangs up.

    The server does not end a request whose client is gone, so its password would still be hashed.
    The body must have been read.

    Raises:
        UnavailableError: the client hung up, so that nobody reads this.
    """
    working = asyncio.ensure_future(work)
    hung_up = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        await asyncio.wait({working, hung_up}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return await working
    finally:
        for task in (working, hung_up):
            task.cancel()
        await asyncio.gather(working, hung_up, return_exceptions=True)
    raise UnavailableError("The client hung up.")


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
