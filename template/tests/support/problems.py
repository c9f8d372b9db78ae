"""Problem documents, as every error has to be answered."""

from datetime import UTC, datetime, timedelta
from typing import Any

from httpx import Response


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
    assert document["code"] == document["code"].lower()
    assert document["request_id"] == response.headers["X-Request-ID"]
    age = datetime.now(UTC) - datetime.fromisoformat(document["timestamp"])
    assert timedelta(0) <= age < timedelta(minutes=1)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    return document
