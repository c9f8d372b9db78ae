"""Cancel work when the client disconnects."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from app.core.errors import UnavailableError

_Result = TypeVar("_Result")


async def while_connected(request: Request, work: Coroutine[Any, Any, _Result]) -> _Result:
    """Return the result of the work; cancel it if the client disconnects.

    The server does not cancel a request when its client disconnects, so a password would still
    be hashed.
    The body must have been read.

    Raises:
        UnavailableError: the client disconnected; it never receives this.
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
