"""The operator's commands."""

import json
import os

import pytest

from app import __main__


@pytest.mark.parametrize("options", [["--workers", "2"], ["--help"]])
def test_server_is_given_its_options(monkeypatch: pytest.MonkeyPatch, options: list[str]) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(__main__, "uvicorn", lambda command, **_: started.append(command))
    monkeypatch.setattr("sys.argv", ["app", "serve", *options])
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "192.0.2.1")

    __main__.main()

    [[application, *given]] = started
    assert application == "app.main:app"
    assert given[-len(options) :] == options
    assert os.environ["FORWARDED_ALLOW_IPS"] == "192.0.2.1"


def test_server_logs_no_query_and_believes_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(__main__, "uvicorn", lambda command, **_: started.append(command))
    monkeypatch.setattr("sys.argv", ["app", "serve"])
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "")
    monkeypatch.delenv("FORWARDED_ALLOW_IPS")

    __main__.main()

    assert "--no-access-log" in started[0]
    assert "--ws none" in " ".join(started[0])
    assert os.environ["FORWARDED_ALLOW_IPS"] == ""


def test_openapi_document_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["app", "openapi"])

    __main__.main()

    assert "/api/v1/items/{item_id}" in json.loads(capsys.readouterr().out)["paths"]
