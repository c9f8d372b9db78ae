"""nginx, with the configuration that Compose gives it, in front of the application."""

import json
import os
import re
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import IncompleteRead
from pathlib import Path
from shutil import which
from ssl import CERT_NONE, SSLSocket, create_default_context
from typing import Any

import pytest

from tests.conftest import Render
from tests.deploy.needs import lacks
from tests.deploy.running import Client, Installed, free_port, install, running
from tests.projects import environment

pytestmark = [pytest.mark.deploy, pytest.mark.xdist_group("deploy-nginx")]

HOST = "api.example.com"


# Tells what the server behind nginx believes of a request.
ECHO = """
import json
async def app(scope, receive, send):
    if scope["type"] == "http":
        body = json.dumps({"client": scope["client"][0], "scheme": scope["scheme"]}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
"""


class Slow(socketserver.StreamRequestHandler):
    """A server that pauses in the middle of a response, and between two messages of a WebSocket."""

    def handle(self) -> None:
        head = [line.strip().lower() for line in iter(self.rfile.readline, b"\r\n")]
        with suppress(OSError):
            if b"upgrade: websocket" in head and b"connection: upgrade" in head:
                self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n")
                self.wfile.write(b"Connection: Upgrade\r\n\r\n")
                message = self.rfile.readline()
                time.sleep(2)
                self.wfile.write(message)
            else:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ndata: 1\n\n")
                time.sleep(2 if b"/pause" in head[0] else 0)
                self.wfile.write(b"data: 2\n\n")


@contextmanager
def slow_server() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Slow) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@dataclass(frozen=True)
class Stack:
    nginx: Client
    plain: int
    """The port of plain HTTP."""
    application: Client
    project: Installed
    directory: Path

    def log(self, name: str) -> str:
        return (self.directory / name).read_text()

    def logged(self, identifier: str, name: str = "access.log") -> dict[str, Any]:
        """The line about the request, which nginx and the application write once they answered."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            # What follows the last newline is a line that is being written.
            for line in self.log(name).split("\n")[:-1]:
                entry: dict[str, Any] = json.loads(line)
                if entry.get("request_id") == identifier:
                    return entry
            time.sleep(0.01)
        raise AssertionError(f"{name} has nothing about {identifier}")


@contextmanager
def connected(port: int, *protocols: str) -> Iterator[SSLSocket]:
    context = create_default_context()
    context.check_hostname = False
    context.verify_mode = CERT_NONE
    context.set_alpn_protocols(protocols)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain) as connection,
    ):
        yield connection


def received(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def send_raw(port: int, data: bytes, *, tls: bool = True) -> tuple[int, dict[str, Any]]:
    """Send what no client of HTTP would, and return the answer's status and problem document."""
    opened = (
        connected(port, "http/1.1")
        if tls
        else socket.create_connection(("127.0.0.1", port), timeout=10)
    )
    with opened as connection:
        connection.sendall(data)
        answer = received(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nContent-Type: application/problem+json\r\n" in head, answer
    return int(head.split()[1]), json.loads(body)


@contextmanager
def nginx_before(
    upstream: int,
    project: Installed,
    directory: Path,
    changes: Mapping[str, str] | None = None,
    plain: int | None = None,
) -> Iterator[Client]:
    """Start nginx with nothing changed but addresses and paths of this machine, and the changes."""
    nginx = which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if not nginx:
        lacks("nginx is not installed")
    certificate = directory / "certificate"
    certificate.mkdir()
    request = ["openssl", "req", "-x509", "-nodes", "-days", "1", "-subj", f"/CN={HOST}"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    files = ["-keyout", "tls.key", "-out", "tls.crt"]
    subprocess.run([*request, *key, *files], cwd=certificate, capture_output=True, check=True)
    client = Client(free_port(), HOST, tls=True)
    text = (project.path / "deploy" / "nginx" / "nginx.conf").read_text(encoding="utf-8")
    for theirs, ours in {
        " /tmp/": f" {directory}/",
        "server app:8000;": f"server 127.0.0.1:{upstream};",
        "listen 8080;": f"listen 127.0.0.1:{plain or free_port()};",
        "listen 8443 ssl": f"listen 127.0.0.1:{client.port} ssl",
        "/etc/nginx/certificate": str(certificate),
        "/dev/stdout": str(directory / "access.log"),
        **(changes or {}),
    }.items():
        assert theirs in text, theirs
        text = text.replace(theirs, ours)
    # As root, its workers would become nobody, who cannot enter the test's directory.
    user = "user root;\n" if os.geteuid() == 0 else ""
    (directory / "nginx.conf").write_text(user + text)
    command = [nginx, "-p", str(directory), "-c", str(directory / "nginx.conf")]
    command += ["-e", "stderr", "-g", "daemon off;"]
    with running(command, directory, os.environ, directory / "nginx.log") as process:
        client.wait("/api/v1/health", process)
        yield client


@pytest.fixture(scope="module")
def stack(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("nginx")
    project = install(
        render(preset="standard", database="none", auth="none"), directory / "project"
    )
    application = Client(free_port(), HOST)
    variables = environment() | {
        "ENVIRONMENT": "production",
        "ALLOWED_HOSTS": HOST,
        "FORWARDED_ALLOW_IPS": "*",
        "UVICORN_PORT": str(application.port),
    }
    log = directory / "application.log"
    plain = free_port()
    with running([project.python, "-m", "app", "serve"], project.path, variables, log) as process:
        application.wait("/api/v1/health", process)
        with nginx_before(application.port, project, directory, plain=plain) as client:
            yield Stack(client, plain, application, project, directory)


def test_nginx_takes_the_configuration_without_a_word(stack: Stack) -> None:
    faults = re.findall(r"\[(?:warn|error|crit|alert|emerg)\] (.*)", stack.log("nginx.log"))

    # New versions have a directive for it, which old ones refuse.
    assert [fault for fault in faults if '"listen ... http2" directive is dep' not in fault] == []


def test_security_headers_are_sent_once(stack: Stack) -> None:
    answer = stack.nginx.send("GET", "/api/v1/health")

    assert answer.status == 200
    for header in (
        "content-security-policy",
        "referrer-policy",
        "strict-transport-security",
        "x-content-type-options",
        "x-frame-options",
        "x-request-id",
    ):
        assert len(answer.all(header)) == 1, header
    assert answer.all("server") == ["nginx"]


def test_client_cannot_choose_its_own_address(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(ECHO)
    server = Client(free_port())
    # As Compose has it: everything that nginx says is believed.
    variables = environment() | {"FORWARDED_ALLOW_IPS": "*", "UVICORN_PORT": str(server.port)}
    command = [stack.project.python, "-m", "uvicorn", "echo:app"]
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http"}

    with running(command, tmp_path, variables, tmp_path / "echo.log") as process:
        server.wait("/", process)
        assert server.send("GET", "/", headers=forged).json()["client"] == "203.0.113.9"
        with nginx_before(server.port, stack.project, tmp_path) as client:
            answer = client.send("GET", "/", headers=forged)

    assert answer.json() == {"client": "127.0.0.1", "scheme": "https"}


def test_clients_of_a_cdn_have_a_limit_each(stack: Stack, tmp_path: Path) -> None:
    """Once its network is named. Addresses of IPv6 count by /64, of which anyone has one."""
    changes = {
        "# set_real_ip_from 192.0.2.0/24;": "set_real_ip_from 127.0.0.0/8;",
        "rate=50r/s": "rate=1r/m",
        "burst=100": "burst=5",
    }

    with slow_server() as port, nginx_before(port, stack.project, tmp_path, changes) as client:

        def statuses(*addresses: str) -> set[int]:
            forwarded = ({"X-Forwarded-For": address} for address in addresses)
            return {client.send("GET", "/", headers=headers).status for headers in forwarded}

        assert statuses(*["203.0.113.1"] * 10) == {200, 429}
        assert statuses("203.0.113.2") == {200}
        assert statuses(*(f"2001:db8:1:2:{number}::1" for number in range(10))) == {200, 429}
        assert statuses("2001:db8:1:3::1") == {200}
        assert statuses(*(f"2001:db8::{number}" for number in range(1, 10))) == {200, 429}
    logged = [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()]
    assert logged[-1]["client"] == "2001:db8::9"


def test_plain_http_is_redirected(stack: Stack) -> None:
    answer = Client(stack.plain, HOST).send("POST", "/api/v1/items?q=1", body=b"{}")

    assert answer.status == 308
    assert answer.all("location") == [f"https://{HOST}/api/v1/items?q=1"]


def test_http_2_is_spoken(stack: Stack) -> None:
    with connected(stack.nginx.port, "h2", "http/1.1") as connection:
        assert connection.selected_alpn_protocol() == "h2"


# The limit for responses, so short that a pause of the slow server exceeds it.
IMPATIENT = {"proxy_read_timeout 30s;": "proxy_read_timeout 1s;"}


def test_stream_of_events_may_pause(stack: Stack, tmp_path: Path) -> None:
    accepted = {"Accept": "text/event-stream"}

    with slow_server() as port, nginx_before(port, stack.project, tmp_path, IMPATIENT) as client:
        stream = client.send("GET", "/pause", headers=accepted)
        with pytest.raises(IncompleteRead):
            client.send("GET", "/pause")

    assert stream.body == b"data: 1\n\ndata: 2\n\n"


def test_websocket_passes_and_may_pause(stack: Stack, tmp_path: Path) -> None:
    upgrade = b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"

    with (
        slow_server() as port,
        nginx_before(port, stack.project, tmp_path, IMPATIENT) as client,
        connected(client.port, "http/1.1") as connection,
    ):
        connection.sendall(b"GET /ws HTTP/1.1\r\nHost: " + HOST.encode() + b"\r\n" + upgrade)
        head = connection.recv(65536)
        connection.sendall(b"ping\n")
        answer = received(connection)

    assert head.startswith(b"HTTP/1.1 101 ")
    assert answer == b"ping\n"


def test_unfinished_handshakes_do_not_stop_the_service(stack: Stack, tmp_path: Path) -> None:
    """Each holds a connection: there are more than attackers of one machine easily open."""
    with (
        slow_server() as port,
        nginx_before(port, stack.project, tmp_path) as client,
        ExitStack() as held,
    ):
        for _ in range(3000):
            attacker = socket.create_connection(("127.0.0.1", client.port), timeout=10)
            held.enter_context(attacker)
            attacker.sendall(b"\x16\x03")  # the first bytes of a handshake

        assert client.send("GET", "/").status == 200


def test_handshake_that_is_not_finished_is_cut(stack: Stack) -> None:
    with socket.create_connection(("127.0.0.1", stack.nginx.port), timeout=10) as attacker:
        attacker.sendall(b"\x16\x03")

        assert received(attacker) == b""


def test_large_body_is_refused(stack: Stack) -> None:
    body = b'{"title": "' + b"x" * 1024 * 1024 + b'"}'

    answer = stack.nginx.send("POST", "/api/v1/items", body=body)
    theirs = stack.application.send("POST", "/api/v1/items", body=body)

    assert answer.status == theirs.status == 413
    assert answer.all("content-type") == ["application/problem+json"]
    assert answer.json().keys() == theirs.json().keys()
    assert answer.json()["title"] == theirs.json()["title"]
    assert answer.json()["code"] == theirs.json()["code"]
    assert answer.all("x-request-id") == [answer.json()["request_id"]]


HOSTS = f"Host: {HOST}\r\nConnection: close\r\n".encode()


@pytest.mark.parametrize(
    ("request_line", "headers", "expected"),
    [
        (b"GET  HTTP/1.1", HOSTS, (400, "bad_request", "/")),
        (b"GET /api/v1/health HTTP/1.1", b"", (400, "bad_request", "/api/v1/health")),
        (b"TRACE /api/v1/items HTTP/1.1", HOSTS, (405, "method_not_allowed", "/api/v1/items")),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1", HOSTS, (414, "uri_too_long", "/" + "x" * 1023)),
        (
            b"GET /api/v1/items?q=secret HTTP/1.1",
            HOSTS + b"Cookie: " + b"x" * 40000 + b"\r\n",
            (431, "request_header_fields_too_large", "/api/v1/items"),
        ),
        (
            b"POST /api/v1/items HTTP/1.1",
            HOSTS + b"Transfer-Encoding: x\r\n",
            (501, "not_implemented", "/api/v1/items"),
        ),
        (b"GET / HTTP/9.0", HOSTS, (505, "http_version_not_supported", "/")),
        # Nothing that is sent leaves its place in the document.
        (b'TRACE /","code":"mine","x":"\\ HTTP/1.1', HOSTS, (405, "method_not_allowed", "/")),
    ],
    ids=["path", "host", "method", "uri", "headers", "coding", "version", "injection"],
)
def test_what_nginx_refuses_has_the_shape_of_other_errors(
    stack: Stack, request_line: bytes, headers: bytes, expected: tuple[int, str, str]
) -> None:
    theirs = stack.application.send("GET", "/nothing").json()

    answered, problem = send_raw(stack.nginx.port, request_line + b"\r\n" + headers + b"\r\n")

    assert (answered, problem["code"], problem["instance"]) == expected
    assert problem["status"] == answered
    assert {name: type(value) for name, value in problem.items()} == {
        name: type(value) for name, value in theirs.items()
    }
    assert "secret" not in str(problem)


def test_plain_http_has_the_shape_of_other_errors(stack: Stack) -> None:
    plain = b"GET /api/v1/health HTTP/1.1\r\n" + HOSTS + b"\r\n"

    status, problem = send_raw(stack.nginx.port, plain, tls=False)

    assert status == problem["status"] == 400
    assert problem["instance"] == "/api/v1/health"


def test_refused_request_is_logged_as_it_was_sent(stack: Stack) -> None:
    body = b"x" * (1024 * 1024 + 1)

    refused = stack.nginx.send("POST", "/api/v1/items?q=confidential", body=body)

    assert refused.json()["instance"] == "/api/v1/items"
    entry = stack.logged(refused.json()["request_id"])
    assert (entry["method"], entry["path"], entry["status"]) == ("POST", "/api/v1/items", 413)
    assert "confidential" not in stack.log("access.log")


def test_large_answers_are_compressed_once(stack: Stack) -> None:
    item = b'{"title": "Milk", "description": "' + b"x" * 1900 + b'"}'
    headers = {"Content-Type": "application/json"}
    assert stack.nginx.send("POST", "/api/v1/items", body=item, headers=headers).status == 201

    packed = stack.nginx.send("GET", "/api/v1/items", headers={"Accept-Encoding": "gzip"})
    plain = stack.nginx.send("GET", "/api/v1/items")
    small = stack.nginx.send("GET", "/api/v1/health", headers={"Accept-Encoding": "gzip"})

    assert packed.all("content-encoding") == ["gzip"]
    assert len(packed.body) < len(plain.body) / 2
    assert plain.json()["total"] == 1
    assert not small.all("content-encoding")


def test_request_has_one_id_in_both_logs(stack: Stack) -> None:
    own = stack.nginx.send("GET", "/api/v1/health", headers={"X-Request-ID": "mine-1"})
    made = stack.nginx.send("GET", "/api/v1/health", headers={"X-Request-ID": "not allowed!"})

    assert own.all("x-request-id") == ["mine-1"]
    (identifier,) = made.all("x-request-id")
    assert re.fullmatch(r"[0-9a-f]{32}", identifier)
    assert stack.logged(identifier)["path"] == "/api/v1/health"
    assert stack.logged(identifier, "application.log")["route"] == "/api/v1/health"


def test_query_is_in_no_log(stack: Stack) -> None:
    answer = stack.nginx.send("GET", "/api/v1/items?q=confidential")

    (identifier,) = answer.all("x-request-id")
    assert stack.logged(identifier)["path"] == "/api/v1/items"
    assert stack.logged(identifier, "application.log")["route"] == "/api/v1/items"
    assert "confidential" not in stack.log("access.log")
    assert "confidential" not in stack.log("application.log")


def test_flood_is_held_back(stack: Stack) -> None:
    """The last test: it uses up what the client may send."""
    answers = stack.nginx.send_many("GET", "/api/v1/health", 400)

    refused = [answer for answer in answers if answer.status != 200]
    assert refused
    assert {answer.status for answer in refused} == {429}
    assert refused[0].all("retry-after") == ["1"]
    assert refused[0].json()["code"] == "too_many_requests"
    assert refused[0].json()["instance"] == "/api/v1/health"
