"""Validators of URLs.

Not pydantic's `AnyHttpUrl`: it adds a slash, and issuers are compared as they are written.
"""

import re
from urllib.parse import urlsplit


def check_url(url: str) -> str:
    """Return the URL.

    Raises:
        ValueError: it is not one of HTTP.
    """
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        is_url = is_web and not parts.fragment and not re.search(r"\s", url)
    except ValueError:
        is_url = False
    if not is_url:
        raise ValueError("must be a URL, as in https://www.example.com")
    return url


def check_base_url(url: str) -> str:
    """Return the URL, to which a path can be added.

    Raises:
        ValueError: it is not one of HTTP, or has a query.
    """
    if not {"?", "#"}.isdisjoint(check_url(url)):
        raise ValueError("must be a URL without a query, as in https://www.example.com")
    return url.rstrip("/")
