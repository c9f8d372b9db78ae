"""Problem documents, as every error has to be answered."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from httpx import Response

from app.main import app

# Problems of requests that match no operation, and of any operation.
_EVERYWHERE = {
    "bad_request",
    "conflict",
    "internal_server_error",
    "method_not_allowed",
    "not_found",
    "unprocessable_content",
}


def problem(response: Response, status: int) -> dict[str, Any]:
    """Return the problem document, after checking what all of them have."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["type"] == "about:blank"
    assert document["title"]
    assert document["detail"]
    assert document["status"] == status
    assert document["instance"] == response.request.url.path
    assert document["code"] in codes()
    assert document["code"] in _EVERYWHERE or _is_documented(response)
    assert document["request_id"] == response.headers["X-Request-ID"]
    age = datetime.now(UTC) - datetime.fromisoformat(document["timestamp"])
    assert timedelta(0) <= age < timedelta(minutes=1)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    return document


def codes() -> list[str]:
    """Return every code that the OpenAPI document names."""
    known: list[str] = app.openapi()["components"]["schemas"]["ProblemCode"]["enum"]
    return known


def _is_documented(response: Response) -> bool:
    """Return whether OpenAPI has the problem at this operation, or knows no such path."""
    path = response.request.url.path
    operations = [
        item.get(response.request.method.lower(), {})
        for template, item in app.openapi()["paths"].items()
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path)
    ]
    return not operations or any(
        response.json()["code"]
        in documented.get("content", {}).get("application/problem+json", {}).get("examples", {})
        for operation in operations
        for status, documented in operation.get("responses", {}).items()
        if status == str(response.status_code)
    )
