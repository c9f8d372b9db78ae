"""What probes are told."""

from typing import Literal

from pydantic import BaseModel


class Health(BaseModel):
    """The process runs."""

    status: Literal["ok"] = "ok"
    version: str


class Readiness(BaseModel):
    """The process and all it depends on can serve requests."""

    status: Literal["ready"] = "ready"
    checks: dict[str, Literal["ok"]]
