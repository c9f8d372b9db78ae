"""Deployment and pipeline files pass the linters that others wrote for them."""

from pathlib import Path
from shutil import which
from subprocess import CompletedProcess

import pytest

from tests import matrix
from tests.deploy.linters import LINTERS, Linter
from tests.deploy.needs import lacks
from tests.projects import run

# One process: the distinct files are gathered once.
pytestmark = [pytest.mark.deploy, pytest.mark.xdist_group("deploy-linters")]

each_linter = pytest.mark.parametrize(
    "linter", [pytest.param(linter, id=linter.name.replace(" ", "-")) for linter in LINTERS]
)


def _lint(linter: Linter, files: list[Path], directory: Path) -> "CompletedProcess[str]":
    # Relative, because some of them take offence at a directory above.
    command = linter.command([str(file.relative_to(directory)) for file in files])
    if not which(command[0]):
        lacks(f"{command[0]} is not installed")
    return run(command, directory)


@each_linter
def test_files_of_all_projects_pass(
    linter: Linter, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    cases = [
        case for case in matrix.cases(request.config.stash[matrix.DIRECTORY]) if not case.error
    ]
    files = linter.files(cases, tmp_path)
    assert files

    result = _lint(linter, files, tmp_path)

    assert result.returncode == 0, result.stdout


@each_linter
def test_planted_fault_is_found(linter: Linter, tmp_path: Path) -> None:
    files = [tmp_path / name for name in linter.bad]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(linter.bad[file.relative_to(tmp_path).as_posix()], encoding="utf-8")

    result = _lint(linter, files, tmp_path)

    assert result.returncode != 0
    assert [found for found in linter.found if found not in result.stdout] == []
