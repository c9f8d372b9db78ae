"""Every combination of answers that Copier takes, and every distinct project among them."""

import os
import shutil
import sys
import tomllib
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from tests import hygiene, matrix
from tests.conftest import Render
from tests.matrix import Case, Python
from tests.projects import Project, checks, generate, reproduce, run
from tests.questions import CROSSED, FEATURES, Answers, choices


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    rendered = matrix.cases(metafunc.config.stash[matrix.DIRECTORY])
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", rendered, ids=[case.name for case in rendered])
    if "distinct" in metafunc.fixturenames:
        metafunc.parametrize(
            ("distinct", "check"),
            [
                pytest.param(
                    case,
                    check,
                    id=f"{case.name}-{check}",
                    # One environment for all checks of a project.
                    marks=pytest.mark.xdist_group(case.name),
                )
                for case in matrix.distinct(rendered)
                for check in checks(case.answers)
            ],
        )
    if "python" in metafunc.fixturenames:
        pythons = matrix.other_pythons()
        cases = [
            pytest.param(
                preset,
                python,
                check,
                id=f"{preset}-{python.version}-{check}",
                marks=pytest.mark.xdist_group(f"{preset}-{python.version}"),
            )
            for preset in ON_OTHER_PYTHONS
            for python in pythons
            for check in ["types", "suite"]  # what depends on the interpreter
        ]
        # Otherwise pytest would skip it because some "empty parameter set" was got.
        reason = pytest.mark.skip(reason="no other Python is installed")
        missing = pytest.param("", None, "", id="none", marks=reason)
        metafunc.parametrize(("preset", "python", "check"), cases or [missing])


# Between them they have both layouts and every library, which is what a Python may not get on with:
# `kubernetes` has all that users take and, for its tests, what SQLite takes.
ON_OTHER_PYTHONS = ["minimal", "internal", "kubernetes"]


def test_case_is_clean(case: Case) -> None:
    """Rendered, parsed, formatted, linted; free of Jinja, of leftovers and of dead links."""
    faults = hygiene.faults(case.project)

    assert not faults, "\n".join([*faults, "", reproduce(case.answers)])


Install = Callable[[str, Answers], Project]


@pytest.fixture(scope="session")
def install(template: Path, outside: Path) -> Install:
    """A project of that name, generated once, which has an environment of its own."""
    installed: dict[str, Project] = {}

    def install(name: str, answers: Answers) -> Project:
        if name not in installed:
            installed[name] = generate(template, outside / name, answers)
        return installed[name]

    return install


def test_project(distinct: Case, check: str, install: Install) -> None:
    """The project passes a check of its own, in an environment of its own."""
    answers = distinct.answers | matrix.RUNNABLE
    project = install(distinct.name, answers)

    result = run(checks(answers)[check], project.path)

    assert result.returncode == 0, f"{result.stdout}\n{reproduce(answers)}"
    if check == "install":
        # Locked for every platform and Python: a project of one of these names cannot be.
        assert hygiene.unreserved(hygiene.locked(project)) == []


def test_project_on_another_python(
    preset: str, python: Python, check: str, install: Install
) -> None:
    answers = {"preset": preset, "python_version": python.version}
    project = install(f"{preset}-{python.version}", answers)
    uv, subcommand, *arguments = checks(project.answers)[check]

    result = run([uv, subcommand, f"--python={python.path}", *arguments], project.path)

    assert result.returncode == 0, f"{result.stdout}\n{reproduce(answers)}"


def test_every_library_is_used_on_other_pythons(
    request: pytest.FixtureRequest, render: Render
) -> None:
    def libraries(project: Project) -> set[str]:
        settings = tomllib.loads(project.read("pyproject.toml"))
        return {*settings["project"]["dependencies"], *settings["dependency-groups"]["dev"]}

    rendered = matrix.cases(request.config.stash[matrix.DIRECTORY])
    every = set[str]().union(*(libraries(case.project) for case in rendered))
    used = set[str]().union(*(libraries(render(preset=preset)) for preset in ON_OTHER_PYTHONS))

    assert used == every


def test_python_of_pyenv_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever `python` means at the moment."""
    for version in ("3.3.7", "3.11.99"):
        (tmp_path / f"versions/{version}/bin").mkdir(parents=True)
    path = tmp_path / "versions/3.11.99/bin/python3"
    path.symlink_to(Path(sys.base_prefix) / "bin/python3")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(Path(shutil.which("uv") or os.environ["UV"]).parent))
    monkeypatch.setattr("sys.version_info", (3, 99))

    assert str(path) in {python.path for python in matrix.other_pythons()}


def test_every_pair_of_answers_occurs(request: pytest.FixtureRequest) -> None:
    rendered = matrix.cases(request.config.stash[matrix.DIRECTORY])
    occurring = {
        frozenset({(question, case.answers[question]), (crossed, case.answers[crossed])})
        for case in rendered
        for question, crossed in product(FEATURES, CROSSED)
    }

    for question, crossed in product(FEATURES, CROSSED):
        for choice, other in product(choices(question), choices(crossed)):
            assert frozenset({(question, choice), (crossed, other)}) in occurring
