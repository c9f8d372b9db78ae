"""Responses to health probes."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema


class Health(BaseModel):
    """The process runs."""

    status: Literal["ok"] = "ok"
    version: Annotated[str, Field(examples=["0.1.0"])]
    commit: Annotated[str, Field(examples=["9fceb02"])] | SkipJsonSchema[None] = None


class Readiness(BaseModel):
    """The process and all it depends on can serve requests."""

    status: Literal["ready"] = "ready"
    checks: dict[str, Literal["ok"]]
