"""Generate a project with the real command, serve it with its own `make dev`, and call it.

`make demo` serves until it is interrupted; `make demo CHECK=1` sends requests and stops.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import psutil

from tests.case import parse
from tests.projects import environment
from tests.questions import REPOSITORY

START_SECONDS = 300  # the first start downloads what the project depends on
# The database servers of a machine start and stop one at a time, so that one waits for the others.
STOP_SECONDS = 120


def generate(directory: Path, answers: Mapping[str, str]) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    command = [sys.executable, "-m", "copier", "copy", "--quiet", "--defaults", "--vcs-ref=HEAD"]
    command += [f"--data={name}={value}" for name, value in answers.items()]
    started = time.perf_counter()
    subprocess.run([*command, str(REPOSITORY), str(directory)], env=environment(), check=True)
    print(f"Generated {directory} in {time.perf_counter() - started:.1f} s", flush=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def serving(directory: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The project's `make dev`, with everything it starts; stopped like by Ctrl-C."""
    server = subprocess.Popen(
        ["make", "dev", f"PORT={port}"],
        cwd=directory,
        env=environment(),
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # so that an interrupt reaches the whole group, and only it
    )
    try:
        yield server
    finally:
        stop(server, directory)


def stop(server: subprocess.Popen[bytes], directory: Path) -> None:
    """Interrupt the process group; end what is left of it, and what detached itself from it."""
    started = psutil.Process(server.pid).children(recursive=True) if server.poll() is None else []
    for request in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, request)
        except ProcessLookupError:
            break
        _, started = psutil.wait_procs(started, timeout=STOP_SECONDS)
        if not started:
            break
    server.wait(STOP_SECONDS)
    # A database server puts itself into a session of its own; it still works in the project.
    left = [process for process in psutil.process_iter() if works_in(process, directory)]
    # It may be ending already.
    _, left = psutil.wait_procs(left, timeout=STOP_SECONDS)
    for process in left:
        print(f"Left running, ended: {process.pid} {process.name()}")
        process.terminate()
    for process in psutil.wait_procs(left, timeout=STOP_SECONDS)[1]:
        process.kill()


def works_in(process: psutil.Process, directory: Path) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(directory)
    except (psutil.Error, OSError):
        return False


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the service sent
        return json.loads(self.body)


class CheckError(Exception):
    """The service did not answer as it should."""


class Client:
    """Sends requests, prints what came back, and remembers a bearer token."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.headers: dict[str, str] = {}

    def send(
        self, method: str, path: str, *, body: object = None, form: Mapping[str, str] | None = None
    ) -> Answer:
        headers = dict(self.headers)
        data = None
        if form is not None:
            data = urlencode(form).encode()
        elif body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        request = Request(f"{self.base}{path}", data, headers, method=method)  # noqa: S310 - http
        try:
            with urlopen(request, timeout=30) as response:  # noqa: S310 - http
                return Answer(response.status, response.headers, response.read())
        except HTTPError as response:
            with response:
                return Answer(response.code, response.headers, response.read())

    def expect(
        self,
        status: int,
        method: str,
        path: str,
        *,
        body: object = None,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        answer = self.send(method, path, body=body, form=form)
        text = answer.body.decode(errors="replace")
        print(f"{method:6} {path:60} {answer.status} {text[:160]!r}", flush=True)
        if answer.status != status:
            raise CheckError(f"{method} {path}: {answer.status} instead of {status}: {text}")
        if status >= 400 and answer.headers.get_content_type() != "application/problem+json":
            raise CheckError(f"{method} {path}: {answer.headers['Content-Type']} is no problem")
        return answer


def wait_until_served(client: Client, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise CheckError(f"make dev ended with {server.returncode}")
        try:
            if client.send("GET", "/api/v1/health").status == 200:
                return
        except (OSError, HTTPException):  # not listening yet
            time.sleep(0.2)
    raise CheckError(f"make dev did not serve within {START_SECONDS} s")


def check(client: Client) -> None:
    """Use the service as its first client would."""
    health = client.expect(200, "GET", "/api/v1/health").json
    ready = client.expect(200, "GET", "/api/v1/ready").json
    if health["status"] != "ok" or ready["status"] != "ready":
        raise CheckError(f"health says {health}, ready says {ready}")
    client.expect(200, "GET", "/docs")
    paths = client.expect(200, "GET", "/openapi.json").json["paths"]
    client.expect(404, "GET", "/nothing-here")

    if "/api/v1/auth/sign-up" in paths:
        client.expect(401, "GET", "/api/v1/items")
        log_in(client)
    check_items(client)


def log_in(client: Client) -> None:
    email, password = "ada@example.com", "correct horse battery staple"
    client.expect(201, "POST", "/api/v1/auth/sign-up", body={"email": email, "password": password})
    tokens = client.expect(
        200, "POST", "/api/v1/auth/login", form={"username": email, "password": password}
    ).json
    client.headers["Authorization"] = f"Bearer {tokens['access_token']}"


def check_items(client: Client) -> None:
    created = client.expect(201, "POST", "/api/v1/items", body={"title": "First"})
    item = created.json
    path = f"/api/v1/items/{item['id']}"
    if not created.headers["Location"].endswith(path):
        raise CheckError(f"Location is {created.headers['Location']}, the item is at {path}")

    page = client.expect(200, "GET", "/api/v1/items?q=first").json
    expected = {
        "items": [item],
        "total": 1,
        "total_is_exact": True,
        "skip": 0,
        "limit": 50,
        "has_more": False,
        "next_cursor": None,
    }
    if page != expected:
        raise CheckError(f"the list is not the item alone: {page}")
    changed = client.expect(200, "PATCH", path, body={"description": "Changed"}).json
    if (changed["title"], changed["description"]) != ("First", "Changed"):
        raise CheckError(f"the change did not take: {changed}")
    client.expect(422, "POST", "/api/v1/items", body={"title": ""})
    client.expect(204, "DELETE", path)
    client.expect(404, "GET", path)


def main() -> int:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="send requests, then stop")
    parser.add_argument("--answers", default="", help="preset=minimal,…")
    parser.add_argument("--directory", type=Path, default=REPOSITORY / "build" / "demo")
    arguments = parser.parse_args()
    directory: Path = arguments.directory.resolve()

    generate(directory, parse(arguments.answers))
    port = free_port() if arguments.check else 8000
    url = f"http://127.0.0.1:{port}"
    with serving(directory, port) as server:
        client = Client(url)
        try:
            wait_until_served(client, server)
            if arguments.check:
                check(client)
            else:
                print(f"\nServed on {url}, documented on {url}/docs. Ctrl-C stops it.", flush=True)
                server.wait()
        except CheckError as error:
            print(f"Failed: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 0
    print("Everything answered as it should.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
