"""Errors, RFC 9457."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema


def _leave_out_null(schema: dict[str, Any]) -> None:
    del schema["default"]


class FieldError(BaseModel):
    """The error of one field; never its value, which may be a secret."""

    field: Annotated[str, Field(examples=["title"])]
    message: Annotated[str, Field(examples=["Field required"])]
    code: Annotated[str, Field(examples=["missing"])]


class Problem(BaseModel):
    """A problem document. `code` is for programs, `detail` for people."""

    type: str = "about:blank"
    title: Annotated[str, Field(examples=["Not Found"])]
    status: Annotated[int, Field(ge=400, le=599, examples=[404])]
    detail: Annotated[str, Field(examples=["Not Found."])]
    instance: Annotated[str, Field(examples=["/api/v1/nothing"])]
    code: Annotated[str, Field(examples=["not_found"])]
    request_id: Annotated[str, Field(examples=["4bf92f3577b34da6a3ce929d0e0e4736"])]
    timestamp: datetime
    errors: list[FieldError] | SkipJsonSchema[None] = Field(
        default=None, json_schema_extra=_leave_out_null
    )
