"""Route class that hides the response of a write from keys without the read scope."""

import json
from collections.abc import Callable, Coroutine
from typing import Any, Final, get_type_hints
from uuid import UUID

from fastapi import Request, Response, status
from fastapi.requests import HTTPConnection
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel

_READ: Final = ":read"
_WRITE: Final = ":write"
_WRITING_METHODS: Final = {"POST", "PUT", "PATCH"}


class Written(BaseModel):
    """The response to a write by a key without the read scope."""

    id: UUID


def note_hidden_response(
    request: HTTPConnection, required: list[str], granted: frozenset[str]
) -> None:
    """Set for `ScopedRoute` whether the key may write but not read."""
    readable = {scope.removesuffix(_WRITE) + _READ for scope in required if scope.endswith(_WRITE)}
    request.state.hides_response = not readable <= granted


class ScopedRoute(APIRoute):
    """A route that answers a key without the scope `<name>:read` with the id alone.

    Otherwise a key with `<name>:write` could read an object by changing nothing of it. Give it to
    the router of every resource: `APIRouter(route_class=ScopedRoute)`.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        model = get_type_hints(endpoint).get("return")
        is_object = isinstance(model, type) and issubclass(model, BaseModel)
        if is_object and not _WRITING_METHODS.isdisjoint(options.get("methods") or ()):
            options["response_model"] = model | Written
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler; it reduces the response if the key lacks the read scope."""
        handle = super().get_route_handler()

        async def handle_scoped(request: Request) -> Response:
            response = await handle(request)
            is_hidden = getattr(request.state, "hides_response", False)
            return _reduce(response) if is_hidden and response.body else response

        return handle_scoped


def _reduce(response: Response) -> Response:
    content = json.loads(bytes(response.body))
    if not isinstance(content, dict) or "id" not in content:
        return Response(status_code=status.HTTP_204_NO_CONTENT, background=response.background)
    reduced = JSONResponse(
        {"id": content["id"]}, response.status_code, background=response.background
    )
    own = {name for name, _ in reduced.raw_headers}
    reduced.raw_headers += [header for header in response.raw_headers if header[0] not in own]
    return reduced
