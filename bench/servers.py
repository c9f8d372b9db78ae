"""The processes of a run: PostgreSQL, and what is measured, all from a generated project."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.projects import environment

HERE = Path(__file__).parent
START_SECONDS = 30
STOP_SECONDS = 10

Settings = Mapping[str, str]


@dataclass(frozen=True)
class Cores:
    """Where the servers run, and where everything else does; nowhere in particular when empty."""

    servers: list[int]
    others: list[int]

    @classmethod
    def available(cls) -> "Cores":
        """One core for the servers, of which one works at a time, and the rest for the others."""
        if sys.platform != "linux":
            return cls([], [])
        first, *rest = sorted(os.sched_getaffinity(0))
        return cls([first], rest) if rest else cls([], [])


@dataclass(frozen=True)
class Server:
    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)


@dataclass(frozen=True)
class Host:
    """An installed project, a directory for what its processes write, and where they run."""

    project: Path
    directory: Path
    cores: Cores

    @property
    def python(self) -> str:
        """The interpreter of the project's own environment."""
        folder = "Scripts" if sys.platform == "win32" else "bin"
        return str(self.project / ".venv" / folder / "python")

    def run(self, *arguments: str, settings: Settings | None = None) -> None:
        """Run a command of the project to its end."""
        subprocess.run(
            [self.python, *arguments],
            cwd=self.project,
            env=environment() | dict(settings or {}),
            check=True,
            stdout=subprocess.DEVNULL,
        )

    @contextmanager
    def postgresql(self) -> Iterator[str]:
        """Run a database server; yields its URL."""
        process = subprocess.Popen(
            [self.python, str(HERE / "postgresql.py"), str(self.directory / "postgresql")],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # an interrupt from the keyboard is for us, who then stop it
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pin(process.pid, self.cores.others)
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()  # which is what it waits for
            process.stdout.close()
            process.wait(STOP_SECONDS)

    @contextmanager
    def serving(self, module: str, directory: Path, settings: Settings) -> Iterator[Server]:
        """Serve `module`, found in the directory, as in production: one worker, on loopback."""
        port = _free_port()
        command = [self.python, "-m", "uvicorn", f"{module}:app", f"--app-dir={directory}"]
        command += [f"--port={port}", "--loop=uvloop", "--http=httptools"]
        command += ["--no-access-log", "--no-server-header"]
        log = self.directory / f"{module}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=environment() | dict(settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            pin(process.pid, self.cores.servers)
            _wait_until_listening(port, process, log)
            yield Server(port, psutil.Process(process.pid))
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def pin(pid: int, cores: list[int]) -> None:
    """Keep the process, and those it will start, on the cores."""
    if cores and sys.platform == "linux":
        os.sched_setaffinity(pid, cores)


def _wait_until_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    # A server listens once its application has started.
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"{log.stem} does not serve:\n{log.read_text(errors='replace')[-5000:]}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
