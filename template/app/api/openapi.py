"""The OpenAPI document: operation ids from function names, and problem responses."""

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final

from fastapi import FastAPI, status
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import (
    validation_error_definition,
    validation_error_response_definition,
)
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic.json_schema import models_json_schema

from app.api.problems import (
    MEDIA_TYPE,
    Responses,
    errors_of,
    problem_responses,
    validation_response,
)
from app.core.errors import DomainError
from app.schemas.problem import Problem

# A body may be too large, compressed, or still on its way when the service stops.
_BODY_PROBLEMS: Final = problem_responses(
    status.HTTP_413_CONTENT_TOO_LARGE,
    status.HTTP_415_UNSUPPORTED_MEDIA_TYPE,
    status.HTTP_503_SERVICE_UNAVAILABLE,
)
# Errors of requests that match no operation, of data that cannot be stored, and of the service
# itself.
_OTHER_PROBLEMS: Final = problem_responses(
    status.HTTP_400_BAD_REQUEST,
    status.HTTP_404_NOT_FOUND,
    status.HTTP_405_METHOD_NOT_ALLOWED,
    status.HTTP_409_CONFLICT,
    status.HTTP_422_UNPROCESSABLE_CONTENT,
    status.HTTP_500_INTERNAL_SERVER_ERROR,
)
_HEADERS: Final = {
    str(status.HTTP_401_UNAUTHORIZED): ("WWW-Authenticate", "string"),
    str(status.HTTP_429_TOO_MANY_REQUESTS): ("Retry-After", "integer"),
    str(status.HTTP_503_SERVICE_UNAVAILABLE): ("Retry-After", "integer"),
}
_INVALID: Final = str(status.HTTP_422_UNPROCESSABLE_CONTENT)
_REPLACED_CONTENT: Final = {
    "application/json": {"schema": {"$ref": "#/components/schemas/HTTPValidationError"}}
}
_REPLACED_SCHEMAS: Final = (validation_error_definition, validation_error_response_definition)
_EXAMPLE_ID: Final = "01932f6e-8a3b-7a53-9d0c-0f3a1c5f5e11"


def name_operation(route: APIRoute) -> str:
    """Return the function's name as `operationId`; generated clients name methods after it."""
    return route.name


def describe_problems(app: FastAPI) -> None:
    """Document the problem responses of each operation, and replace FastAPI's own 422."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        # FastAPI returns the same document until routes are added.
        if Problem.__name__ not in schemas:
            _describe_operations(app, document)
            for name, schema in list(schemas.items()):
                if schema in _REPLACED_SCHEMAS:
                    del schemas[name]
            schemas |= _problem_schemas(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _describe_operations(app: FastAPI, document: dict[str, Any]) -> None:
    for route in iter_route_contexts(app.routes):
        if not isinstance(route.original_route, APIRoute) or not route.include_in_schema:
            continue
        path = route.path_format or ""
        for method in route.methods or ():
            operation = document["paths"][path][method.lower()]
            if operation["responses"].get(_INVALID, {}).get("content") == _REPLACED_CONTENT:
                del operation["responses"][_INVALID]
            if "parameters" in operation or "requestBody" in operation:
                _add(operation, validation_response())
            if "requestBody" in operation:
                _add(operation, _BODY_PROBLEMS)
            _add(operation, problem_responses(*_errors(route.dependant)))
            _complete(operation, path)


def _errors(dependant: Dependant) -> Iterator[type[DomainError]]:
    for dependency in dependant.dependencies:
        if dependency.call is not None:
            yield from errors_of(dependency.call)
        yield from _errors(dependency)


def _add(operation: dict[str, Any], responses: Responses) -> None:
    """Add responses to those that the operation has."""
    for status_code, response in deepcopy(responses).items():
        problem = response["content"][MEDIA_TYPE]
        known = operation["responses"].setdefault(str(status_code), response)
        content = known.setdefault("content", {}).setdefault(MEDIA_TYPE, problem)
        content["examples"] = problem["examples"] | content.get("examples", {})


def _complete(operation: dict[str, Any], path: str) -> None:
    """Add the headers, and the route's path in the examples."""
    instance = re.sub(r"{\w*id}", _EXAMPLE_ID, path)
    for status_code, response in operation["responses"].items():
        for example in response.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {}).values():
            example["value"] = example["value"] | {"instance": instance}
        if status_code in _HEADERS:
            name, type_ = _HEADERS[status_code]
            response.setdefault("headers", {})[name] = {"schema": {"type": type_}}
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _problem_schemas(document: dict[str, Any]) -> dict[str, Any]:
    _, definitions = models_json_schema(
        [(Problem, "validation")], ref_template="#/components/schemas/{model}"
    )
    schemas: dict[str, Any] = definitions["$defs"]
    schemas[Problem.__name__]["properties"]["code"] = {"$ref": "#/components/schemas/ProblemCode"}
    schemas["ProblemCode"] = {
        "title": "ProblemCode",
        "description": "A stable word for programs. Later versions may add others.",
        "type": "string",
        "enum": sorted(_codes(document)),
    }
    return schemas


def _codes(document: dict[str, Any]) -> set[str]:
    """Return the codes of every documented problem."""
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    return {
        code
        for responses in [_OTHER_PROBLEMS, *(operation["responses"] for operation in operations)]
        for response in responses.values()
        for code in response.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
    }
