"""What is compared: a newly generated project and the floor, over the same rows."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request as UrlRequest
from urllib.request import urlopen

from bench.load import Request
from bench.servers import HERE, Cores, Host, Server
from tests.projects import generate, run, snapshot

ANSWERS = {
    "preset": "custom",
    "layout": "modular",
    "database": "postgresql",
    "deploy": "none",
    "ci": "none",
}
# As deployed, with all of its middleware at work.
APP_SETTINGS = {
    "ENVIRONMENT": "production",
    "ALLOWED_HOSTS": "127.0.0.1",
    "CORS_ORIGINS": "https://www.example.com",
    "LOG_FORMAT": "json",
}
FLOORS = {"none": "floor", "jwt": "floor_jwt"}

ITEMS = "/api/v1/items"
ITEM = {"title": "Buy milk", "description": "Two litres, the kind with the blue cap."}
JSON = {"Content-Type": "application/json"}
ACCOUNT = {"email": "ada@example.com", "password": "correct horse battery staple"}


@dataclass(frozen=True)
class Scenario:
    servers: Mapping[str, Server]
    """`app` and `floor`."""
    requests: Mapping[str, Request]
    """By route: `list` and `create`."""


@contextmanager
def scenario(*, auth: str, rows: int, cores: Cores) -> Iterator[Scenario]:
    """Generate, install, migrate, serve and seed; stop and remove everything at the end."""
    with TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        host = Host(_install(directory, {**ANSWERS, "auth": auth}), directory, cores)
        with host.postgresql() as url:
            settings = {"DATABASE_URL": url}
            if auth == "jwt":
                settings |= _keys(host)
            app_settings = APP_SETTINGS | settings
            host.run("-m", "alembic", "upgrade", "head", settings=app_settings)
            with (
                host.serving("app.main", host.project, app_settings) as app,
                host.serving(FLOORS[auth], HERE, settings) as floor,
            ):
                credentials = _log_in(app) if auth == "jwt" else {}
                for _ in range(rows):
                    _post(app, ITEMS, json.dumps(ITEM), JSON | credentials)
                yield Scenario({"app": app, "floor": floor}, _requests(credentials))


def _install(directory: Path, answers: dict[str, str]) -> Path:
    project = generate(snapshot(directory / "template"), directory / "project", answers).path
    installed = run(["uv", "sync", "--quiet"], project)
    if installed.returncode:
        raise RuntimeError(installed.stdout)
    return project


def _keys(host: Host) -> dict[str, str]:
    """A new pair of keys, and what both servers have to agree upon."""
    keys = host.directory / "keys"
    host.run("-m", "app", "keys", "generate", f"--directory={keys}")
    return {
        "RSA_PRIVATE_KEY_PATH": str(keys / "private.pem"),
        "RSA_PUBLIC_KEY_PATH": str(keys / "public.pem"),
        "JWT_ISSUER": "bench",
        "JWT_AUDIENCE": "bench",
    }


def _log_in(app: Server) -> dict[str, str]:
    _post(app, "/api/v1/auth/sign-up", json.dumps(ACCOUNT), JSON)
    form = {"username": ACCOUNT["email"], "password": ACCOUNT["password"]}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    tokens = _post(app, "/api/v1/auth/login", urlencode(form), headers)
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def _post(server: Server, path: str, body: str, headers: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON
    url = f"http://127.0.0.1:{server.port}{path}"
    with urlopen(UrlRequest(url, body.encode(), dict(headers)), timeout=30) as answer:
        return json.load(answer)


def _requests(credentials: Mapping[str, str]) -> dict[str, Request]:
    return {
        "list": Request("GET", f"{ITEMS}?limit=20", 200, headers=credentials),
        "create": Request("POST", ITEMS, 201, json.dumps(ITEM).encode(), {**JSON, **credentials}),
    }
