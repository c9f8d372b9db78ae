"""Partial updates."""

from typing import Any

from pydantic import Field

# The default of a field that may be left out, but not be null. It is never read: services get the
# fields that were sent (`exclude_unset`).
UNSET: Any = Field(default_factory=lambda: None)
