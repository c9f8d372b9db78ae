"""The application answers on Vercel's own runtime, on a file system that cannot be written."""

import json
import os
import subprocess
from pathlib import Path
from shutil import rmtree, which
from typing import Any

import pytest

from tests.conftest import Render
from tests.deploy.needs import lacks
from tests.deploy.running import Installed, install, signing_keys
from tests.projects import environment

pytestmark = [pytest.mark.deploy, pytest.mark.xdist_group("deploy-vercel")]

# What Vercel's builder 25 puts beside the dependencies.
RUNTIME = "vercel-runtime==0.24.1"
# The versions that Vercel offers and its runtime supports.
PYTHONS = ">=3.12,<3.15"
HOST = "api.example.com"

# As the builder writes it, down to the names of variables; then each request in turn.
HANDLER = """
import json, os, sys
os.chdir("/mnt")
sys.path.insert(0, "/mnt")
os.environ |= {
    "__VC_HANDLER_MODULE_NAME": "app.main",
    "__VC_HANDLER_ENTRYPOINT": "app/main.py",
    "__VC_HANDLER_ENTRYPOINT_ABS": "/mnt/app/main.py",
    "__VC_HANDLER_VENDOR_DIR": "_vendor",
    "__VC_HANDLER_VARIABLE_NAME": "app",
}
from vercel_runtime.vc_init import vc_handler
answers = [vc_handler({"body": json.dumps(request)}, None) for request in json.loads(sys.argv[1])]
print("ANSWERS" + json.dumps(answers), flush=True)
"""

# $1 is the bundle, seen at /mnt; /tmp is all that can be written.
FUNCTION = """
set -eu
mount --make-rprivate /
mount --bind "$1" /mnt
mount -o remount,ro,bind /mnt
mount -t tmpfs tmpfs /tmp
mount -o remount,ro,bind /
shift
if touch /root/written /mnt/written 2> /dev/null; then exit 99; fi
exec env -i "$@"
"""


@pytest.fixture(scope="module")
def python() -> str:
    found = subprocess.run(
        ["uv", "python", "find", "--no-python-downloads", PYTHONS],
        capture_output=True,
        check=False,
        env=environment(),
        text=True,
    )
    # Those of pyenv are on PATH only as far as it has been told to use them.
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob("3.1[2-4].*/bin/python"))
    interpreters = [*found.stdout.split(), *(str(path) for path in pyenv)]
    if not interpreters:
        lacks(f"there is no Python {PYTHONS}")
    if os.geteuid() != 0 or not which("unshare"):
        lacks("no root to make the file system read-only")
    return interpreters[0]


def bundle(render: Render, target: Path, python: str, **answers: str) -> Installed:
    """What Vercel's builder makes of a project."""
    function = install(render(**answers), target, python=python)
    injected = ["uv", "pip", "install", "--quiet", "--python", function.python, RUNTIME]
    subprocess.run(injected, check=True, env=environment())
    options = json.loads((target / "vercel.json").read_text())["functions"]["app/main.py"]
    for excluded in options["excludeFiles"].removesuffix("/**").strip("{}").split(","):
        rmtree(target / excluded, ignore_errors=True)
    return function


def ask(
    function: Installed, variables: dict[str, str], requests: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    for request in requests:
        request["headers"] = {"host": HOST} | request.get("headers", {})
    given = ["PYTHONDONTWRITEBYTECODE=1", *(f"{name}={value}" for name, value in variables.items())]
    handler = ["/mnt/.venv/bin/python", "-c", HANDLER, json.dumps(requests)]
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", FUNCTION, "sh", str(function.path), *given, *handler],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("ANSWERS"))
    answers: list[dict[str, Any]] = json.loads(line.removeprefix("ANSWERS"))
    return answers


def test_items_are_served(render: Render, tmp_path: Path, python: str) -> None:
    function = bundle(
        render, tmp_path / "p", python, preset="serverless", database="none", auth="none"
    )
    production = {"ENVIRONMENT": "production", "ALLOWED_HOSTS": HOST}
    item = {
        "method": "POST",
        "path": "/api/v1/items",
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"title": "Milk"}),
    }

    made, listed, docs, stranger = ask(
        function,
        production,
        [
            item,
            {"method": "GET", "path": "/api/v1/items?limit=1"},
            {"method": "GET", "path": "/docs"},
            {"method": "GET", "path": "/api/v1/items", "headers": {"host": "elsewhere.example"}},
        ],
    )

    assert made["statusCode"] == 201
    assert json.loads(listed["body"])["items"][0]["title"] == "Milk"
    assert docs["statusCode"] == 404
    assert stranger["statusCode"] == 400


def test_preset_starts_and_tells_that_its_database_is_away(
    render: Render, tmp_path: Path, python: str
) -> None:
    function = bundle(render, tmp_path / "p", python, preset="serverless")
    production = {
        "ENVIRONMENT": "production",
        "ALLOWED_HOSTS": HOST,
        "DATABASE_URL": "postgresql://app:app@127.0.0.1:1/app",
        **signing_keys(HOST),
    }

    health, ready = ask(
        function,
        production,
        [{"method": "GET", "path": "/api/v1/health"}, {"method": "GET", "path": "/api/v1/ready"}],
    )

    assert health["statusCode"] == 200
    assert ready["statusCode"] == 503
    assert json.loads(ready["body"])["code"] == "service_unavailable"


def test_fault_in_settings_ends_the_function(render: Render, tmp_path: Path, python: str) -> None:
    function = bundle(
        render, tmp_path / "p", python, preset="serverless", database="none", auth="none"
    )

    with pytest.raises(AssertionError, match="ALLOWED_HOSTS: "):
        ask(function, {"ENVIRONMENT": "production"}, [])
