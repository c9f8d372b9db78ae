"""Text in requests."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def check_storable(text: str) -> str:
    """Return the text.

    Raises:
        ValueError: it cannot be stored.
    """
    if _UNSTORABLE.search(text):
        raise ValueError("must not contain NUL characters or lone surrogates")
    return text


# U+0000 cannot be stored and lone surrogates cannot be encoded; no text needs either.
# Put this after a field's bounds, so that pydantic applies them to the text itself.
STORABLE: Final = AfterValidator(check_storable)
Text = Annotated[str, STORABLE]
