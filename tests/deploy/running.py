"""Generated applications with an environment of their own, and servers in front of requests."""

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from ssl import CERT_NONE, create_default_context
from typing import Any

from tests.projects import Project, environment

# A secret's default is left out.
SETTINGS = """
import json
from app.core.settings import Settings
print(json.dumps({
    name.upper(): None if "Secret" in repr(field.annotation) else str(field.default)
    for name, field in Settings.model_fields.items()
}))
"""
PATHS = """
import json
from app.main import app
print(json.dumps(sorted(app.openapi()["paths"])))
"""


@dataclass(frozen=True)
class Installed:
    path: Path

    @property
    def python(self) -> str:
        return str(self.path / ".venv" / "bin" / "python")

    @cached_property
    def settings(self) -> dict[str, str | None]:
        """Every setting with its default, a secret's left out."""
        if not (self.path / "app" / "core" / "settings.py").exists():
            return self._settings_of_one_module()
        settings: dict[str, str | None] = json.loads(self._print(SETTINGS))
        return settings

    def _settings_of_one_module(self) -> dict[str, str | None]:
        """What the source reads, where no class has all of it; defaults are not looked for."""
        settings: dict[str, str | None] = {}
        for file in (self.path / "app").rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            settings |= dict.fromkeys(re.findall(r'environ\S*?["\(]+([A-Z_]+)"', text), "")
            for fields in re.findall(
                r"^class \w+\(BaseSettings.*\n((?:    .*\n|\n)+)", text, re.MULTILINE
            ):
                for name, kind in re.findall(r"^    ([a-z_]+): (.+)", fields, re.MULTILINE):
                    settings[name.upper()] = None if "Secret" in kind else ""
        return settings

    @property
    def secrets(self) -> set[str]:
        return {name for name, default in self.settings.items() if default is None}

    @cached_property
    def paths(self) -> set[str]:
        return set(json.loads(self._print(PATHS)))

    def _print(self, program: str) -> str:
        return self.run(["python", "-c", program], {"ENVIRONMENT": "test"}).splitlines()[-1]

    def run(self, command: list[str], extra: Mapping[str, str]) -> str:
        """Run a program of the environment and return what it prints."""
        result = subprocess.run(
            [str(self.path / ".venv" / "bin" / command[0]), *command[1:]],
            cwd=self.path,
            env=environment() | dict(extra),
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout


def copy(project: Project, target: Path) -> Path:
    for file in project.files:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        (target / file).write_bytes((project.path / file).read_bytes())
    return target


def install(project: Project, target: Path, *, python: str | None = None) -> Installed:
    """Copy the project and install what it needs in production."""
    copy(project, target)
    subprocess.run(
        ["uv", "sync", "--quiet", "--no-dev", *(["--python", python] if python else [])],
        cwd=target,
        env=environment(),
        check=True,
    )
    return Installed(target)


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for header, value in self.headers if header.lower() == name.lower()]

    def json(self) -> Any:  # noqa: ANN401, JSON is any
        return json.loads(self.body)


@dataclass(frozen=True)
class Client:
    port: int
    host: str = "localhost"
    tls: bool = False

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10,
    ) -> Answer:
        with self._connection(timeout) as connection:
            connection.request(method, path, body, {"Host": self.host} | dict(headers or {}))
            return _read(connection)

    def send_many(self, method: str, path: str, count: int) -> list[Answer]:
        """One after another on one connection, as fast as they are answered."""
        answers = []
        with self._connection(10) as connection:
            for _ in range(count):
                connection.request(method, path, None, {"Host": self.host})
                answers.append(_read(connection))
        return answers

    def _connection(self, timeout: float) -> "closing[HTTPConnection]":
        if not self.tls:
            return closing(HTTPConnection("127.0.0.1", self.port, timeout=timeout))
        context = create_default_context()
        context.check_hostname = False
        context.verify_mode = CERT_NONE
        return closing(HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=context))

    def wait(self, path: str, process: "subprocess.Popen[bytes]", seconds: float = 30) -> Answer:
        """Ask until there is an answer."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.send("GET", path, timeout=2)
            except OSError:
                assert process.poll() is None, f"ended with {process.returncode}"
                assert time.monotonic() < deadline, f"no answer within {seconds} s"
                time.sleep(0.05)


def _read(connection: HTTPConnection) -> Answer:
    response = connection.getresponse()
    return Answer(response.status, response.getheaders(), response.read())


@contextmanager
def running(
    command: list[str], directory: Path, variables: Mapping[str, str], log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=directory,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
