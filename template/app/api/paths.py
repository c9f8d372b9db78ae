"""Paths below a proxy's prefix (`root_path`), and the routes at them."""

from collections.abc import Iterator

from fastapi.routing import RouteContext, iter_route_contexts
from starlette.routing import Match
from starlette.types import Scope


def public_path(scope: Scope, path: str) -> str:
    """Return the path that clients see: with the prefix that a proxy removes."""
    return f"{_prefix(scope)}{path}"


def route_path(scope: Scope) -> str:
    """Return the path that routes match: without the prefix."""
    prefix, path = _prefix(scope), str(scope["path"])
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path


def matching_routes(scope: Scope) -> Iterator[RouteContext]:
    """Yield the routes at the path of the request, whatever their methods."""
    # A mounted application has added its own path to the prefix.
    scope = {**scope, "root_path": _prefix(scope)}
    for route in iter_route_contexts(scope["app"].routes):
        if route.methods and route.matches(scope)[0] is not Match.NONE:
            yield route


def allowed_methods(scope: Scope) -> set[str]:
    """Return the methods of all routes at the path of the request."""
    methods = {method for route in matching_routes(scope) for method in route.methods or ()}
    return methods | {"HEAD"} if "GET" in methods else methods


def _prefix(scope: Scope) -> str:
    prefix: str = scope.get("app_root_path", scope.get("root_path", ""))
    return prefix.rstrip("/")
