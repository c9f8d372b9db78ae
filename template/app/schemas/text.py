"""Text from outside."""

from typing import Annotated

from pydantic import AfterValidator


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL characters")
    return text


# PostgreSQL cannot store U+0000, and no text needs it.
Text = Annotated[str, AfterValidator(_without_nul)]
