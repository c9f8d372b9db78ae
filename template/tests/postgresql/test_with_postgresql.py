"""The server that development gets, and commands that run beside it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "with_postgresql.py"
# Seconds. The servers of a machine start and stop one at a time, so that one waits for the others.
TIMEOUT = 120


@pytest.fixture
def project(postgresql_url: str | None) -> Iterator[Path]:
    """A directory with the script, and so with a server of its own.

    Not in pytest's own, which other runs close to other users, such as the one that a server
    started by root runs as.
    """
    if postgresql_url is None:
        pytest.skip("needs --database=postgresql")
    with TemporaryDirectory() as directory:
        scripts = Path(directory, "scripts")
        scripts.mkdir()
        shutil.copy(SCRIPT, scripts)
        yield Path(directory)


def start(project: Path, code: str) -> subprocess.Popen[str]:
    """Run a line of Python beside the server."""
    command = [sys.executable, "scripts/with_postgresql.py", sys.executable, "-c", code]
    return subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True)  # noqa: S603


def server_runs(project: Path) -> bool:
    return (project / ".postgresql" / "postmaster.pid").exists()


def test_command_finds_a_server_that_ends_after_it(project: Path) -> None:
    ask = (
        "import asyncio, asyncpg, os\n"
        "async def main():\n"
        "    url = os.environ['DATABASE_URL'].replace('+asyncpg', '')\n"
        "    connection = await asyncpg.connect(url)\n"
        "    print(await connection.fetchval('SELECT 6 * 7'))\n"
        "asyncio.run(main())\n"
        "raise SystemExit(7)"
    )

    process = start(project, ask)
    output, _ = process.communicate(timeout=TIMEOUT)

    assert output == "42\n"
    assert process.returncode == 7
    assert not server_runs(project)


def test_both_end_when_told_to(project: Path) -> None:
    process = start(project, "import time; print('up', flush=True); time.sleep(60)")
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "up\n"
        assert server_runs(project)

        process.terminate()

        assert process.wait(timeout=TIMEOUT) == 128 + signal.SIGTERM
    assert not server_runs(project)


@pytest.mark.parametrize("place", ["environment", ".env"])
def test_configured_server_is_used_instead(
    project: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    if place == ".env":
        (project / ".env").write_text("DATABASE_URL=postgresql://elsewhere/app\n")
    else:
        monkeypatch.setitem(os.environ, "DATABASE_URL", "postgresql://elsewhere/app")

    process = start(project, "print('done')")
    output, _ = process.communicate(timeout=TIMEOUT)

    assert output == "done\n"
    assert not (project / ".postgresql").exists()


@pytest.mark.parametrize("environment", ["Production", "staging"])
def test_no_server_is_made_up_where_others_depend_on_it(
    project: Path, monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    monkeypatch.setitem(os.environ, "ENVIRONMENT", environment)

    process = start(project, "import os; print(os.environ.get('DATABASE_URL'))")
    output, _ = process.communicate(timeout=TIMEOUT)

    assert output == "None\n"
    assert not (project / ".postgresql").exists()
