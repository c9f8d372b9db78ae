"""Clients and tests that tools generate from a project's OpenAPI document."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.conftest import Render
from tests.deploy.running import Client, free_port, install, running
from tests.projects import environment

pytestmark = pytest.mark.xdist_group("generated-clients")

CREDENTIALS = {"email": "ann@example.com", "password": "a horse, a staple and a battery"}
# Routes that end the session, take a token from a mail, or need an administrator.
LEFT_OUT = r"(/auth/|/me|/users)"
# All that apply but `positive_data_acceptance`: no schema says that `skip` excludes `cursor`.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,negative_data_rejection,unsupported_method"
)


@pytest.fixture(scope="module")
def served(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A project with users, and an account in it."""
    directory = tmp_path_factory.mktemp("generated")
    installed = install(render(preset="standard", deploy="none", ci="none"), directory / "project")
    installed.run(["alembic", "upgrade", "head"], {})
    client = Client(free_port())
    command = [installed.python, "-m", "app", "serve", "--port", str(client.port)]
    variables = environment() | {"RATE_LIMIT_ENABLED": "false"}
    with running(command, installed.path, variables, directory / "log") as process:
        client.wait("/api/v1/health", process)
        client.send(
            "POST",
            "/api/v1/auth/sign-up",
            body=json.dumps(CREDENTIALS).encode(),
            headers={"Content-Type": "application/json"},
            timeout=30,
        )
        yield client


def call(arguments: list[str], directory: Path) -> str:
    result = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=directory,
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


SCRIPT = """
import sys
from my_api_client import AuthenticatedClient, Client
from my_api_client.api.auth import log_in
from my_api_client.api.items import create_item, list_items
from my_api_client.models import ItemCreate, LoginForm

url, username, password = sys.argv[1:]
pair = log_in.sync(client=Client(url), body=LoginForm(username=username, password=password))
with AuthenticatedClient(url, token=pair.access_token) as client:
    item = create_item.sync(client=client, body=ItemCreate(title="Milk"))
    assert [found.id for found in list_items.sync(client=client).items] == [item.id]
"""


def test_generated_client_calls_the_service(served: Client, tmp_path: Path) -> None:
    url = f"http://localhost:{served.port}"

    output = call(
        ["openapi_python_client", "generate", "--url", f"{url}/openapi.json", "--meta", "none",
         "--output-path", "my_api_client", "--fail-on-warning"],
        tmp_path,
    )  # fmt: skip

    assert "warning" not in output.lower()
    (tmp_path / "use.py").write_text(SCRIPT)
    call(["use", url, *CREDENTIALS.values()], tmp_path)


def test_service_keeps_to_its_document(served: Client, tmp_path: Path) -> None:
    url = f"http://localhost:{served.port}"
    form = urlencode({"username": CREDENTIALS["email"], "password": CREDENTIALS["password"]})
    pair = served.send(
        "POST",
        "/api/v1/auth/login",
        body=form.encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        timeout=30,
    )
    token = pair.json()["access_token"]

    output = call(
        ["schemathesis.cli", "run", f"{url}/openapi.json", "--header",
         f"Authorization: Bearer {token}", "--checks", CHECKS, "--phases",
         "examples,coverage,fuzzing", "--max-examples", "10", "--seed", "1",
         "--exclude-path-regex", LEFT_OUT],
        tmp_path,
    )  # fmt: skip

    assert "No issues found" in output
    assert "Authentication failed" not in output
