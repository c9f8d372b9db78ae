"""Images are built as their users build them, and serve as they expect."""

import re
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Render
from tests.deploy.images import Engine, Image, engine
from tests.deploy.running import Client, copy, free_port, postgresql, signing_keys
from tests.projects import environment

pytestmark = [pytest.mark.deploy, pytest.mark.image, pytest.mark.xdist_group("deploy-image")]

HOST = "api.example.com"
# What an image may weigh, in bytes; without Python and Debian it is about 100 MB.
LIMIT = 300_000_000


@pytest.fixture(scope="module", params=["standard", "production"])
def preset(request: pytest.FixtureRequest) -> str:
    """One with its database in a file, and one with a database server and two processes."""
    return str(request.param)


@pytest.fixture(scope="module")
def context(render: Render, preset: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project, locked, with things beside it that must not be sent anywhere."""
    path = copy(render(preset=preset), tmp_path_factory.mktemp("image") / "project")
    subprocess.run(["uv", "lock", "--quiet"], cwd=path, env=environment(), check=True)
    (path / ".env").write_text("SECRET=planted\n")
    (path / "app" / ".env.local").write_text("SECRET=planted\n")
    (path / "app" / "private.pem").write_text("planted\n")
    (path / ".git").mkdir()
    (path / ".git" / "config").write_text("planted\n")
    # As a cautious user's checkout is.
    for file in (path / "app").rglob("*"):
        file.chmod(0o700 if file.is_dir() else 0o600)
    return path


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    directory = tmp_path_factory.mktemp("engine")
    yield engine(directory)
    # Gigabytes, which pytest would keep for three runs.
    subprocess.run(["rm", "-rf", str(directory)], check=False)


@pytest.fixture(scope="module")
def image(builder: Engine, context: Path, preset: str) -> Image:
    return builder.build(context, f"template-test-{preset}:1")


@pytest.fixture(scope="module")
def volumes(outside: Path, image: Image, preset: str) -> dict[Path, str]:
    """For a database in a file; a volume takes its owner from the image."""
    if preset != "standard":
        return {}
    outside.chmod(0o755)
    path = outside / "data"
    path.mkdir(mode=0o755)
    user, group = image.config["User"].split(":")
    subprocess.run(["chown", f"{user}:{group}", str(path)], check=True)
    return {path: "/data"}


@pytest.fixture(scope="module")
def variables(preset: str) -> Iterator[dict[str, str]]:
    common = {"ALLOWED_HOSTS": HOST, **signing_keys(HOST)}
    if preset == "standard":
        yield {"DATABASE_URL": "sqlite+aiosqlite:////data/app.db", **common}
        return
    with postgresql() as url:
        yield {"DATABASE_URL": url, "WEB_CONCURRENCY": "2", **common}


@pytest.fixture(scope="module")
def served(
    builder: Engine,
    image: Image,
    volumes: dict[Path, str],
    variables: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Client, "subprocess.Popen[bytes]", Path]]:
    """The server, on a database that the image has migrated."""
    logs = tmp_path_factory.mktemp("logs")
    migrate = ["alembic", "upgrade", "head"]
    with builder.start(image, migrate, variables, volumes, logs / "migrate") as process:
        assert process.wait(60) == 0, (logs / "migrate").read_text()
    port = free_port()
    listening = variables | {"PORT": str(port), "UVICORN_HOST": "127.0.0.1"}
    with builder.start(image, [], listening, volumes, logs / "serve") as process:
        client = Client(port, HOST)
        client.wait("/api/v1/health", process)
        yield client, process, logs / "serve"


def test_image_is_small(
    image: Image, preset: str, record_property: Callable[[str, object], None]
) -> None:
    figures = f"{image.size / 1e6:.0f} MB, built in {image.seconds:.0f} s"
    record_property(f"image of {preset}", figures)

    assert image.size < LIMIT


def test_image_says_what_it_is(image: Image) -> None:
    assert image.config["Labels"]["org.opencontainers.image.title"] == "My API"
    assert image.config["ExposedPorts"] == {"8000/tcp": {}}
    assert not image.config.get("Entrypoint")
    assert image.config["Healthcheck"]["Test"][0] == "CMD"


def test_image_holds_no_tests_no_compiler_and_no_secret(builder: Engine, image: Image) -> None:
    paths = [entry.path for entry in builder.files(image)]
    unwanted = re.compile(
        r"^/app/(tests|docs|\.git|\.env|\.keys)|/\.env[^/]*$|/app/.*\.(pem|key)$"
        r"|/bin/(uv|gcc|cc|make|pytest|ruff|mypy|pip)$|/site-packages/(pytest|mypy|ruff)/"
    )

    assert [path for path in paths if unwanted.search(path)] == []
    assert {"/app/app/main.py", "/app/alembic.ini", "/app/pyproject.toml"} <= set(paths)
    assert any(re.match(r"/app/app/__pycache__/main\..*\.pyc", path) for path in paths)


def test_server_may_read_its_code_and_not_write_it(builder: Engine, image: Image) -> None:
    for entry in builder.files(image):
        if entry.path.startswith("/app/"):
            assert entry.owner == 0, entry
            if not stat.S_ISLNK(entry.mode):
                assert not entry.mode & 0o022, entry
                assert entry.mode & 0o004, entry


def test_container_without_settings_ends_and_says_what_is_missing(
    builder: Engine, image: Image, tmp_path: Path
) -> None:
    with builder.start(image, [], {}, {}, tmp_path / "log") as process:
        assert process.wait(60) not in {0, None}

    log = (tmp_path / "log").read_text()
    assert {"ALLOWED_HOSTS", "DATABASE_URL"} <= set(re.findall(r"^([A-Z_]+): ", log, re.MULTILINE))
    assert "Traceback" not in log


def test_server_is_ready(served: tuple[Client, "subprocess.Popen[bytes]", Path]) -> None:
    client, _, _ = served

    answer = client.send("GET", "/api/v1/ready")

    assert answer.status == 200
    assert answer.json() == {"status": "ready", "checks": {"database": "ok", "migrations": "ok"}}
    assert not answer.all("server")


def test_health_check_of_the_image_passes(
    builder: Engine,
    image: Image,
    served: tuple[Client, "subprocess.Popen[bytes]", Path],
    tmp_path: Path,
) -> None:
    client, _, _ = served
    _, *command = image.config["Healthcheck"]["Test"]

    with builder.start(image, command, {"PORT": str(client.port)}, {}, tmp_path / "log") as process:
        assert process.wait(30) == 0, (tmp_path / "log").read_text()
    with builder.start(image, command, {"PORT": str(free_port())}, {}, tmp_path / "log") as process:
        assert process.wait(30) != 0


def test_server_keeps_items_of_a_user_who_signed_up(
    served: tuple[Client, "subprocess.Popen[bytes]", Path],
) -> None:
    client, _, _ = served
    json_body = {"Content-Type": "application/json"}
    account = b'{"email": "a@example.com", "password": "correct horse battery"}'
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    signed_up = client.send("POST", "/api/v1/auth/sign-up", body=account, headers=json_body)
    assert signed_up.status == 201, signed_up.body
    login = b"username=a@example.com&password=correct+horse+battery"
    logged_in = client.send("POST", "/api/v1/auth/login", body=login, headers=form)
    assert logged_in.status == 200, logged_in.body
    bearer = json_body | {"Authorization": f"Bearer {logged_in.json()['access_token']}"}
    made = client.send("POST", "/api/v1/items", body=b'{"title": "Milk"}', headers=bearer)
    assert made.status == 201, made.body
    (location,) = made.all("location")

    assert client.send("GET", location, headers=bearer).json()["title"] == "Milk"


def test_server_ends_in_time_and_in_order(
    served: tuple[Client, "subprocess.Popen[bytes]", Path], variables: dict[str, str]
) -> None:
    """The last test: it ends the server of the others."""
    _, process, log = served
    processes = int(variables.get("WEB_CONCURRENCY", "1"))
    started = time.monotonic()

    process.send_signal(signal.SIGTERM)
    code = process.wait(15)

    assert code == 0, log.read_text()
    assert time.monotonic() - started < 8
    text = log.read_text()
    assert text.count("Application startup complete") == processes
    assert text.count("Application shutdown complete") == processes
    assert "Traceback" not in text
