"""The commands that the README starts with."""

import sys
from pathlib import Path

import pytest

from tests.projects import run
from tests.questions import REPOSITORY


@pytest.mark.parametrize("answers", ["", "preset=minimal", "preset=production"])
def test_demo_answers_requests_and_leaves_nothing_running(outside: Path, answers: str) -> None:
    command = [sys.executable, "-m", "tests.demo", "--check", f"--answers={answers}"]

    result = run([*command, f"--directory={outside / 'demo'}"], REPOSITORY)

    assert result.returncode == 0, result.stdout
    assert result.stdout.endswith("Everything answered as it should.\n")
    left = [line for line in result.stdout.splitlines() if line.startswith("Left running")]
    assert left == []


def test_help_lists_every_target() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")

    listed = run(["make", "help"], REPOSITORY).stdout.split("\n")

    targets = [line.split()[1] for line in makefile.splitlines() if line.startswith(".PHONY")]
    assert [line.split()[1] for line in listed if line] == targets
