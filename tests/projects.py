"""Generating projects, and running what they bring with them."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from copier import run_copy

from tests.questions import REPOSITORY, Answers

TEMPLATE = ["copier.yml", "extensions", "template"]


@dataclass(frozen=True)
class Project:
    path: Path
    answers: Answers
    """As recorded in the project."""

    @property
    def files(self) -> list[str]:
        """Every file, relative to the project; directories of tools are left out."""
        files = []
        for directory, directories, names in os.walk(self.path):
            directories[:] = [name for name in directories if not _is_made_by_tools(name)]
            relative = Path(directory).relative_to(self.path)
            files += [(relative / name).as_posix() for name in names if name != "uv.lock"]
        return sorted(files)

    def read(self, file: str) -> str:
        # Not `read_text`, which would turn CRLF into LF.
        return (self.path / file).read_bytes().decode()


def _is_made_by_tools(directory: str) -> bool:
    return directory in {".git", ".venv", "__pycache__"} or directory.endswith("_cache")


def snapshot(target: Path) -> Path:
    """Copy the template as it stands in the working tree, so that rendering clones nothing."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *TEMPLATE],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source = REPOSITORY / name
        if source.exists():  # a file may be deleted and still be in the index
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    return target


def generate(template: Path, target: Path, answers: Answers) -> Project:
    run_copy(str(template), target, data=dict(answers), defaults=True, quiet=True)
    return Project(target, recorded_answers(target))


def recorded_answers(path: Path) -> dict[str, str]:
    recorded = yaml.safe_load((path / ".copier-answers.yml").read_text(encoding="utf-8"))
    return {name: answer for name, answer in recorded.items() if not name.startswith("_")}


def checks(answers: Answers) -> dict[str, list[str]]:
    """What a project's own developers run, by name, in the order they would."""
    commands = {
        "install": ["uv", "sync"],
        "format": ["uv", "run", "ruff", "format", "--check"],
        "lint": ["uv", "run", "ruff", "check"],
        "types": ["uv", "run", "mypy"],
        "dependencies": ["uv", "run", "deptry", "app"],
        "suite": ["uv", "run", "pytest"],
    }
    if answers["layout"] == "modular":
        commands["layers"] = ["uv", "run", "lint-imports"]
    if answers["database"] == "postgresql":
        commands["suite-on-postgresql"] = ["uv", "run", "pytest", "--database=postgresql"]
    return commands


def environment() -> dict[str, str]:
    """The environment without what belongs to the test run or to a developer's own services."""
    prefixes = ("PYTEST_", "COV_", "DATABASE_", "TEST_DATABASE_", "MAKE")
    names = {"VIRTUAL_ENV", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT", "ENVIRONMENT"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in names and not name.startswith(prefixes)
    }
    if not shutil.which("uv"):
        # `uv run`, which started the tests, names itself so.
        kept["PATH"] = f"{Path(os.environ['UV']).parent}{os.pathsep}{kept['PATH']}"
    return kept


def run(
    command: list[str], directory: Path, extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run to the end, standard error within standard output."""
    return subprocess.run(
        command,
        cwd=directory,
        env=environment() | dict(extra or {}),
        check=False,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=900,
    )


def reproduce(answers: Answers) -> str:
    """The command that repeats a case from a checkout."""
    return f'make case ANSWERS="{",".join(f"{name}={value}" for name, value in answers.items())}"'
