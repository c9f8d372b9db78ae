"""Settings: what they take, what they refuse, and what they never repeat."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.core.settings import START_FAILED, Environment, Settings, get_settings

PROJECT = Path(__file__).parents[2]
UNSAFE = {
    "ENVIRONMENT": "production",
    "ALLOWED_HOSTS": "*",
    "CORS_ORIGINS": "*,https://hunter2.example.com/",
    "MAX_BODY_BYTES": "hunter2",
    "LOG_LEVEL": "hunter2",
}


def refusals(**values: object) -> dict[str, str]:
    """Return the message for each setting that is refused."""
    try:
        Settings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        return {str(fault["loc"][0]): fault["msg"] for fault in error.errors()}
    return {}


# ── Values ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("a.example.com", ["a.example.com"]),
        ("a.example.com,b.example.com", ["a.example.com", "b.example.com"]),
        (" a.example.com , b.example.com, ", ["a.example.com", "b.example.com"]),
        ('["a.example.com", "b.example.com"]', ["a.example.com", "b.example.com"]),
        (' ["*.example.com"]', ["*.example.com"]),
        ("", ["*"]),
        ("[]", ["*"]),
    ],
)
def test_list_is_taken_as_json_and_as_text_with_commas(
    monkeypatch: pytest.MonkeyPatch, text: str, hosts: list[str]
) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", text)

    assert Settings().allowed_hosts == hosts


@pytest.mark.parametrize(
    "text", ["[", '["a", 1]', '["a"', "[[]]", "[" * 100_000, '{"a": "b"}', '"a"', '[""]']
)
def test_list_of_another_form_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", text)

    assert set(refusals()) == {"allowed_hosts"}


def test_list_may_be_given_as_it_is() -> None:
    assert Settings(cors_origins=["https://example.com"]).cors_origins == ["https://example.com"]


@pytest.mark.parametrize(
    "host", ["*", "localhost", "*.example.com", "my_service", "API.example.com", "[::1]"]
)
def test_host_that_a_request_can_name_is_taken(host: str) -> None:
    assert refusals(allowed_hosts=[host]) == {}


@pytest.mark.parametrize(
    "host",
    [
        "a*.example.com",
        "*.*.example.com",
        "*example.com",
        "https://a.example.com",
        "a.example.com:8000",
        "a.example.com/path",
        "a.example.com b.example.com",
        ".example.com",
        "::1",
    ],
)
def test_host_that_no_request_can_name_is_refused(host: str) -> None:
    assert set(refusals(allowed_hosts=host)) == {"allowed_hosts"}


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "https://www.example.com",
        "http://localhost:3000",
        "http://[::1]:3000",
        "https://www.example.com:80",
        "capacitor://localhost",
    ],
)
def test_origin_that_browsers_send_is_taken(origin: str) -> None:
    assert refusals(cors_origins=origin) == {}


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "www.example.com",
        "https://",
        "https://www.example.com/",
        "https://www.example.com/path",
        "https://www.example.com:443",
        "https://www.example.com:0",
        "http://www.example.com:80",
        "https://WWW.example.com",
        "https://*.example.com",
        "https://user@www.example.com",
        "https://www.example.com https://example.com",
    ],
)
def test_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    assert set(refusals(cors_origins=origin)) == {"cors_origins"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_body_bytes", "0"),
        ("max_body_bytes", "1.5"),
        ("max_body_bytes", "9" * 5000),
        ("log_level", "loud"),
        ("log_format", "xml"),
        ("environment", "prod"),
        ("docs_enabled", "perhaps"),
    ],
)
def test_value_without_sense_is_refused(name: str, value: str) -> None:
    assert name in refusals(**{name: value})


def test_words_may_be_written_in_capitals() -> None:
    settings = Settings(environment="TEST", log_level="INFO", log_format="JSON")

    assert settings.environment is Environment.TEST
    assert settings.log_level == "info"
    assert settings.log_format == "json"


def test_defaults_fit_the_environment() -> None:
    settings = Settings()

    assert settings.environment is Environment.TEST
    assert settings.log_format == "json"
    assert settings.docs_enabled


@pytest.mark.parametrize("given", [True, False])
def test_documentation_is_shown_as_told(given: bool) -> None:
    assert Settings(docs_enabled=given).docs_enabled is given


# ── Deployed ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("environment", ["staging", "production", "nonsense"])
def test_deployed_service_needs_host_names(environment: str) -> None:
    assert "is missing" in refusals(environment=environment)["allowed_hosts"]
    assert "*" in refusals(environment=environment, allowed_hosts="*")["allowed_hosts"]
    assert "allowed_hosts" not in refusals(environment=environment, allowed_hosts="example.com")


def test_deployed_service_takes_no_origin_but_those_it_names() -> None:
    assert "cors_origins" in refusals(environment="production", cors_origins="*")
    assert "cors_origins" not in refusals(environment="production")
    assert "cors_origins" not in refusals(environment="test", cors_origins="*")


def test_faults_end_the_process_with_a_line_for_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in UNSAFE.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit) as ended:
        get_settings.__wrapped__()

    assert ended.value.code == START_FAILED
    assert_faults_are_told(capsys.readouterr().err)


@pytest.mark.parametrize("content", [b"\xe9", "A=b".encode("utf-16-le"), None])
def test_env_file_that_cannot_be_read_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
) -> None:
    file = tmp_path / ".env"
    file.mkdir() if content is None else file.write_bytes(content)
    monkeypatch.setitem(Settings.model_config, "env_file", str(file))

    with pytest.raises(SystemExit, match=str(START_FAILED)):
        get_settings.__wrapped__()

    reason = "Is a directory" if content is None else "not UTF-8 text"
    assert capsys.readouterr().err == f"{file}: {reason}\n"


@pytest.mark.parametrize("content", ["A=b", ""])
def test_env_file_in_utf_8_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    file = tmp_path / ".env"
    file.write_text(content, encoding="utf-8")
    monkeypatch.setitem(Settings.model_config, "env_file", str(file))

    assert get_settings.__wrapped__() == Settings()


def assert_faults_are_told(output: str) -> None:
    names = [line.partition(": ")[0] for line in output.splitlines()]
    assert set(UNSAFE) - {"ENVIRONMENT"} <= set(names)
    assert len(names) == len(set(names))
    assert all(name == name.upper() for name in names)
    assert "hunter2" not in output
    assert "Traceback" not in output


# ── Real starts ──────────────────────────────────────────────────────────────────────────────────


COMMANDS = {
    "uvicorn": ["-m", "uvicorn", "app.main:app", "--port", "0"],
    "workers": ["-m", "app", "serve", "--port", "0", "--workers", "2"],
    "command": ["-m", "app", "settings"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_unsafe_service_does_not_start(name: str, tmp_path: Path) -> None:
    process = start(COMMANDS[name], tmp_path, UNSAFE)

    assert process.returncode == START_FAILED
    assert process.stdout == ""
    assert_faults_are_told(process.stderr)


@pytest.mark.parametrize("name", COMMANDS)
def test_service_with_an_env_file_in_utf_16_does_not_start(name: str, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("LOG_LEVEL=info", encoding="utf-16")

    process = start(COMMANDS[name], tmp_path, {})

    assert process.returncode == START_FAILED
    assert process.stderr == f"{file}: not UTF-8 text\n"


def test_env_file_is_the_one_of_the_project_in_every_directory(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOG_FORMAT=hunter2", encoding="utf-8")
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (elsewhere / ".env").write_text("LIST_TOTAL_LIMIT=hunter2", encoding="utf-8")

    process = start(COMMANDS["command"], tmp_path, {}, elsewhere)

    assert process.returncode == START_FAILED
    assert process.stderr.startswith("LOG_FORMAT: ")
    assert "LIST_TOTAL_LIMIT" not in process.stderr


def start(
    command: list[str],
    project: Path,
    settings: dict[str, str],
    directory: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run Python in a project of the same code, with these settings and its own `.env` alone."""
    (project / "app").symlink_to(PROJECT / "app")
    environment = {**os.environ, "PYTHONPATH": str(project), **settings}
    return subprocess.run(  # noqa: S603, our own command
        [sys.executable, *command],
        cwd=directory or project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
