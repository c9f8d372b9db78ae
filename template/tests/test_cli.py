"""The operator's commands."""

import json
import os

import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.main import app

NAME = "FORWARDED_ALLOW_IPS"


def run(*arguments: str) -> str:
    """Return what the command prints, after checking that it succeeds."""
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_settings_are_listed() -> None:
    lines = dict(line.split("=", 1) for line in run("settings").splitlines())

    assert lines["ENVIRONMENT"] == "test"
    assert lines["MAX_BODY_BYTES"] == "1048576"
    assert lines["ALLOWED_HOSTS"] == '["*"]'


@pytest.mark.parametrize("indent", [0, 2, 4])
def test_openapi_document_is_printed(indent: int) -> None:
    assert json.loads(run("openapi", "--indent", str(indent))) == app.openapi()


def test_serve_takes_the_options_of_uvicorn() -> None:
    help_text = run("serve", "--help")

    assert "Usage: python -m app serve [OPTIONS]" in help_text
    assert "--workers" in help_text


@pytest.mark.parametrize(("given", "believed"), [({}, ""), ({NAME: "10.0.0.1"}, "10.0.0.1")])
def test_only_proxies_that_are_named_are_believed(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], believed: str
) -> None:
    monkeypatch.setattr("os.environ", os.environ | given)

    run("serve", "--help")

    assert os.environ[NAME] == believed


def test_commands_are_listed() -> None:
    help_text = run("--help")

    for command in ("serve", "settings", "openapi"):
        assert command in help_text
