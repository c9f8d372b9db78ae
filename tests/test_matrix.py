"""Every combination of answers that Copier takes, and every distinct project among them."""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from tests import hygiene, matrix
from tests.matrix import Case
from tests.projects import Project, checks, environment, generate, reproduce, run
from tests.questions import CROSSED, FEATURES, PRESETS, choices


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


def test_case_is_clean(case: Case) -> None:
    """Rendered, parsed, formatted, linted; free of Jinja, of leftovers and of dead links."""
    faults = hygiene.faults(case.project)

    assert not faults, "\n".join([*faults, "", reproduce(case.answers)])


@pytest.fixture(scope="session")
def installed() -> dict[str, Project]:
    """Projects with an environment of their own, by name."""
    return {}


def test_project(
    distinct: Case,
    check: str,
    installed: dict[str, Project],
    template: Path,
    outside: Path,
) -> None:
    """The project passes a check of its own, in an environment of its own."""
    answers = distinct.answers | matrix.RUNNABLE
    if distinct.name not in installed:
        directory = outside / distinct.name
        installed[distinct.name] = generate(template, directory, answers)

    result = run(checks(answers)[check], installed[distinct.name].path)

    assert result.returncode == 0, f"{result.stdout}\n{reproduce(answers)}"


def interpreters() -> list[str]:
    """Versions of Python installed here that projects may require, other than the running one."""
    listed = subprocess.run(
        ["uv", "python", "list", "--only-installed", "--output-format=json"],
        env=environment(),
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    found = {
        f"{python['version_parts']['major']}.{python['version_parts']['minor']}"
        for python in json.loads(listed.stdout)
    }
    running = "{}.{}".format(*sys.version_info)
    return [version for version in choices("python_version") if version in found - {running}]


@pytest.mark.parametrize(("preset", "version"), list(product(PRESETS, interpreters())))
def test_suite_on_another_python(template: Path, tmp_path: Path, preset: str, version: str) -> None:
    answers = {"preset": preset, "python_version": version}
    project = generate(template, tmp_path / "project", answers)

    result = run(["uv", "run", f"--python={version}", "pytest"], project.path)

    assert result.returncode == 0, f"{result.stdout}\n{reproduce(answers)}"


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
