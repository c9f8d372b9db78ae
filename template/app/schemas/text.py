"""Text from outside."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def _check(text: str) -> str:
    if _UNSTORABLE.search(text):
        raise ValueError("must not contain NUL characters or lone surrogates")
    return text


# U+0000 cannot be stored, half a surrogate pair cannot be encoded, and no text needs them.
# Stands after a field's bounds, for pydantic to apply them to the text itself.
STORABLE: Final = AfterValidator(_check)
Text = Annotated[str, STORABLE]
