"""The operator's commands."""

import json
import os

import pytest
from typer.testing import CliRunner

from app.cli.main import cli
from app.main import app


def run(*arguments: str) -> str:
    """Return what the command prints, after checking that it succeeds."""
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_settings_are_listed() -> None:
    lines = dict(line.split("=", 1) for line in run("settings").splitlines())

    assert lines["ENVIRONMENT"] == "test"
    assert lines["DOCS_ENABLED"] == "true"


@pytest.mark.parametrize("indent", [0, 2, 4])
def test_openapi_document_is_printed(indent: int) -> None:
    assert json.loads(run("openapi", "--indent", str(indent))) == app.openapi()


def test_serve_takes_the_options_of_uvicorn() -> None:
    help_text = run("serve", "--help")

    assert "Usage: python -m app serve [OPTIONS]" in help_text
    assert "--workers" in help_text


def test_server_logs_no_query_and_believes_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("app.cli.main.uvicorn", lambda command, **_: started.append(command))
    for name in ("FORWARDED_ALLOW_IPS", "UVICORN_PORT"):
        # Set first, so that it is removed again after the test.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)

    run("serve", "--workers", "2")

    [[application, *options]] = started
    assert application == "app.main:app"
    assert "--no-access-log" in options
    assert "--ws websockets-sansio" in " ".join(options)
    assert options[-2:] == ["--workers", "2"]
    assert os.environ["FORWARDED_ALLOW_IPS"] == ""


@pytest.mark.parametrize(
    ("variables", "port"),
    [
        ({}, "8000"),
        ({"PORT": ""}, "8000"),
        ({"PORT": "8080"}, "8080"),
        ({"PORT": "8080", "UVICORN_PORT": "9090"}, "9090"),
    ],
)
def test_server_listens_on_the_port_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], port: str
) -> None:
    monkeypatch.setattr("app.cli.main.uvicorn", lambda *_, **__: None)
    for name in ("PORT", "UVICORN_PORT", "FORWARDED_ALLOW_IPS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    run("serve")

    assert os.environ["UVICORN_PORT"] == port


def test_server_believes_the_proxies_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.main.uvicorn", lambda *_, **__: None)
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.1")
    monkeypatch.setenv("UVICORN_PORT", "8000")

    run("serve")

    assert os.environ["FORWARDED_ALLOW_IPS"] == "10.0.0.1"


def test_commands_are_listed() -> None:
    help_text = run("--help")

    for command in ("serve", "settings", "openapi"):
        assert command in help_text
