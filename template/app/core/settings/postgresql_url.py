"""Converts PostgreSQL URLs of hosting companies to arguments of asyncpg."""

import re
import ssl
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, make_url

# Errors over files that cannot be read, or are not certificates.
_UNREADABLE: Final = (OSError, ValueError)
DRIVER: Final = "postgresql+asyncpg"

_LAST_PORT: Final = 65535
_LARGEST_NUMBER: Final = 1_000_000
_SSL_MODES: Final = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
_WORDS: Final = {
    "channel_binding": {"disable", "prefer", "require"},
    "client_encoding": {"auto", "utf8", "UTF8", "utf-8", "UTF-8"},
    "gssencmode": {"disable", "prefer"},
    "gsslib": {"gssapi", "sspi"},
    "keepalives": {"0", "1"},
    "load_balance_hosts": {"disable"},
    "pgbouncer": {"true", "false"},
    "sslcompression": {"0"},
    "sslmode": _SSL_MODES,
    "sslnegotiation": {"postgres", "direct"},
    "sslsni": {"0", "1"},
    "ssl_max_protocol_version": {"TLSv1.2", "TLSv1.3"},
    "ssl_min_protocol_version": {"TLSv1.2", "TLSv1.3"},
    "target_session_attrs": {
        *("any", "primary", "standby", "read-write", "read-only", "prefer-standby"),
    },
}
_NUMBERS: Final = {
    *("connect_timeout", "keepalives_count", "keepalives_idle", "keepalives_interval"),
}
_TEXTS: Final = {
    *("application_name", "krbsrvname", "options", "passfile"),
    *("sslcert", "sslcrl", "sslkey", "sslpassword", "sslrootcert"),
}
# For clients in other languages.
_IGNORED: Final = {"supa", "uselibpqcompat", "workaround"}
_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_NAME: Final = re.compile(r"[A-Za-z_]{1,40}")


def parse(text: str) -> URL:
    """Return the URL for SQLAlchemy, after checking every parameter.

    Several hosts and sockets, which SQLAlchemy's parser does not know, become the parameters `host`
    and `port`, with commas.

    Raises:
        ValueError: a parameter is unknown or cannot work. The message names it, never its value.
    """
    match = re.fullmatch(r"(\w+)(?:\+\w+)?(://(?:[^/?]*@)?)([^/?@]*)(.*)", text, re.DOTALL)
    if match is None:
        raise ValueError("is not a database URL: are all of its parts percent-encoded?")
    _, credentials, hosts, rest = match.groups()
    is_simple = "," not in hosts and "%" not in hosts
    url = make_url(f"{DRIVER}{credentials}{hosts if is_simple else ''}{rest}")
    query = _checked(dict(url.query))
    given = query.pop("host", None) or ("" if is_simple else _decode(hosts))
    ports = query.pop("port", "")
    if given or ports:
        given = given or url.host or "localhost"
        pairs = [_split(host) for host in given.split(",")]
        numbers = ports.split(",") if ports else [port for _, port in pairs]
        if len(numbers) == 1:
            numbers *= len(pairs)
        if len(numbers) != len(pairs):
            raise ValueError("has another number of ports than of hosts")
        query["host"] = ",".join(host for host, _ in pairs)
        if any(numbers) or url.port:
            query["port"] = ",".join(number or str(url.port or 5432) for number in numbers)
        url = url.set(host=None, port=None)
    for port in [*query.get("port", "").split(","), str(url.port if url.port is not None else "")]:
        if port and not (port.isdecimal() and 0 < int(port) <= _LAST_PORT):
            raise ValueError(f"has a port that is not between 1 and {_LAST_PORT}")
    tls(query)
    return url.set(query=query)


def _decode(hosts: str) -> str:
    return str(make_url(f"{DRIVER}:///?host={hosts}").query["host"])


def _split(host: str) -> tuple[str, str]:
    """Return host and port; a socket's path may have colons of its own."""
    match = re.fullmatch(r"(/.*|\[[^]]*\]|[^:]*)(?::(\d*))?", host, re.DOTALL)
    if match is None:
        raise ValueError("has a host that is neither a name, an address nor a socket")
    name, port = match.groups()
    return name.strip("[]"), port or ""


def _checked(given: dict[str, Any]) -> dict[str, str]:
    query: dict[str, str] = {}
    for name, value in given.items():
        if name in _IGNORED:
            continue
        known = "sslmode" if name == "ssl" else name
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        if name == "ssl":
            text = {"true": "require", "1": "require", "false": "disable"}.get(text, text)
        if known in _WORDS and text not in _WORDS[known]:
            raise ValueError(f"has a {known} other than {', '.join(sorted(_WORDS[known]))}")
        if known in _NUMBERS and not (text.isdecimal() and int(text) < _LARGEST_NUMBER):
            raise ValueError(f"has a {known} that is not a number")
        if known not in {*_WORDS, *_NUMBERS, *_TEXTS, "host", "port"}:
            # Another name may be a piece of a password that is not percent-encoded.
            which = f"the parameter {name}" if _NAME.fullmatch(name) else "a parameter"
            takes = ", ".join(sorted({*_WORDS, *_NUMBERS, *_TEXTS, "host", "port"}))
            raise ValueError(f"has {which}, which asyncpg does not support; it takes {takes}")
        query[known] = text
    return query


def tls(query: dict[str, str]) -> ssl.SSLContext | str | None:
    """Return asyncpg's argument for TLS: a context, a mode without one, or None.

    Raises:
        ValueError: a file cannot be read, or the parameters contradict each other.
    """
    root = query.get("sslrootcert")
    mode = query.get("sslmode")
    if root == "system":
        if mode not in {None, "verify-full"}:
            raise ValueError("has sslrootcert=system, which needs sslmode=verify-full")
        mode = "verify-full"
    if mode is None and query.get("channel_binding") == "require":
        mode = "require"
    if mode not in {"require", "verify-ca", "verify-full"}:
        return mode
    if root is None and mode != "require":
        default = Path("~/.postgresql/root.crt").expanduser()
        if not default.exists():
            raise ValueError(f"has sslmode={mode} without sslrootcert: a file, or system")
        root = str(default)
    for name in _FILES:
        path = root if name == "sslrootcert" else query.get(name)
        if path not in {None, "system"}:
            _check_readable(name, str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = mode == "verify-full"
    try:
        _load(context, root, query)
    except _UNREADABLE:
        raise ValueError(
            "has a file in sslrootcert, sslcert, sslkey or sslcrl that is not in PEM form"
        ) from None
    return context


def _check_readable(name: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise ValueError(f"has an {name} that cannot be read: {error.strerror}") from None


def _load(context: ssl.SSLContext, root: str | None, query: dict[str, str]) -> None:
    if root is None:
        context.verify_mode = ssl.CERT_NONE
    elif root == "system":
        context.load_default_certs()
    else:
        context.load_verify_locations(cafile=root)
    if "sslcert" in query:
        password = query.get("sslpassword", "")
        context.load_cert_chain(query["sslcert"], query.get("sslkey"), lambda: password)
    if "sslcrl" in query:
        context.load_verify_locations(cafile=query["sslcrl"])
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    lowest = query.get("ssl_min_protocol_version", "TLSv1.2")
    context.minimum_version = ssl.TLSVersion[lowest.replace(".", "_")]
    if highest := query.get("ssl_max_protocol_version"):
        context.maximum_version = ssl.TLSVersion[highest.replace(".", "_")]
    context.set_alpn_protocols(["postgresql"])


def is_for_transaction_pooler(url: URL) -> bool:
    """Whether the URL says that a pooler in transaction mode is in front of the server."""
    return url.query.get("pgbouncer") == "true"


def sets_parameters(url: URL) -> bool:
    """Whether `options` sets parameters of the session, rather than name a project or endpoint."""
    return bool(re.search(r"(^|\s)-", str(url.query.get("options", ""))))


def connect_arguments(url: URL) -> dict[str, Any]:
    """Return the arguments of `asyncpg.connect` that follow from the parameters of the URL."""
    query = {name: str(value) for name, value in url.query.items()}
    arguments: dict[str, Any] = {"server_settings": {}}
    if "host" in query:
        arguments["host"] = query["host"].split(",")
        if "port" in query:
            arguments["port"] = [int(port) for port in query["port"].split(",")]
    for name in ("gsslib", "krbsrvname", "passfile", "target_session_attrs"):
        if name in query:
            arguments[name] = query[name]
    for name in ("application_name", "options"):
        if name in query:
            arguments["server_settings"][name] = query[name]
    if int(query.get("connect_timeout", 0)) > 0:
        arguments["timeout"] = int(query["connect_timeout"])
    if (security := tls(query)) is not None:
        arguments["ssl"] = security
    if query.get("sslnegotiation") == "direct":
        arguments["direct_tls"] = True
    return arguments
