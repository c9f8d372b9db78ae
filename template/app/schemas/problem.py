"""Errors, RFC 9457."""

from datetime import datetime

from pydantic import BaseModel


class FieldError(BaseModel):
    """What is wrong with one field; never its value, which may be a secret."""

    field: str
    message: str
    code: str


class Problem(BaseModel):
    """A problem document. `code` is for programs, `detail` for people."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    timestamp: datetime
    errors: list[FieldError] | None = None
