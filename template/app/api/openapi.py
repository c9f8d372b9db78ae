"""The OpenAPI document, with the errors as they really are."""

from typing import Any

from fastapi import FastAPI, status
from pydantic.json_schema import models_json_schema

from app.api.problems import problem_responses
from app.schemas.problem import Problem

_INVALID = str(status.HTTP_422_UNPROCESSABLE_CONTENT)
_UNUSED = ("HTTPValidationError", "ValidationError")


def describe_problems(app: FastAPI) -> None:
    """Describe problem documents in place of FastAPI's own shape of a 422."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document["components"]["schemas"]
        for name in _UNUSED:
            schemas.pop(name, None)
        schemas |= _problem_schemas()
        for path in document["paths"].values():
            for operation in path.values():
                if _INVALID in operation["responses"]:
                    operation["responses"] |= _invalid_response()
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _problem_schemas() -> dict[str, Any]:
    _, document = models_json_schema(
        [(Problem, "serialization")], ref_template="#/components/schemas/{model}"
    )
    schemas: dict[str, Any] = document["$defs"]
    return schemas


def _invalid_response() -> dict[str, Any]:
    return {
        str(code): response
        for code, response in problem_responses(status.HTTP_422_UNPROCESSABLE_CONTENT).items()
    }
