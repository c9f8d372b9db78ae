"""Every kind of project: rendered once for a test run, grouped by what their suites exercise."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import pytest
from filelock import FileLock

from tests.projects import Project, environment, generate, snapshot
from tests.questions import CROSSED, FEATURES, Answers, choices, combinations

# Shared by the processes of one test run.
DIRECTORY = pytest.StashKey[Path]()

# Suites run on the Python that runs these tests, so projects must not ask for a newer one.
RUNNABLE = {"python_version": choices("python_version")[0]}


@dataclass(frozen=True)
class Case:
    answers: dict[str, str]
    path: str
    error: str = ""
    """Why it could not be rendered."""
    digest: str = ""
    """Of what its suite exercises: cases with the same one need to run only once."""

    @property
    def name(self) -> str:
        return name(self.answers)

    @property
    def project(self) -> Project:
        assert not self.error, self.error
        return Project(Path(self.path), self.answers)


def name(answers: Answers) -> str:
    return "-".join(answers[question] for question in FEATURES)


def cases(directory: Path) -> list[Case]:
    """The cases, rendered by whichever process comes first and shared by the others."""
    record = directory / "cases.json"
    with FileLock(directory / "cases.lock"):
        if not record.exists():
            rendered = _render_all(directory)
            record.write_text(json.dumps([asdict(case) for case in rendered]), encoding="utf-8")
    return [Case(**case) for case in json.loads(record.read_text(encoding="utf-8"))]


def distinct(rendered: list[Case]) -> list[Case]:
    """The first case of each digest; what could not be rendered is not among them."""
    by_digest = {case.digest: case for case in reversed(rendered) if not case.error}
    return [case for case in rendered if by_digest.get(case.digest) is case]


def _render_all(directory: Path) -> list[Case]:
    template = snapshot(directory / "template")
    wanted = [
        (template, directory / name(answers), answers)
        for answers in _crossed(combinations(template))
    ]
    with ProcessPoolExecutor() as pool:
        return list(pool.map(_render, wanted))


def _crossed(features: Iterable[dict[str, str]]) -> Iterator[dict[str, str]]:
    """Each combination with the license and Python version that it has met the least."""
    met: Counter[tuple[str, str]] = Counter()
    pairs = list(product(*(choices(question) for question in CROSSED)))
    for answers in features:
        values = [*answers.values()]
        pair = min(pairs, key=lambda pair: sum(met[item] for item in product(values, pair)))
        met.update(product(values, pair))
        yield answers | dict(zip(CROSSED, pair, strict=True))


def _render(wanted: tuple[Path, Path, dict[str, str]]) -> Case:
    template, target, answers = wanted
    try:
        project = generate(template, target, answers)
    except Exception as error:  # noqa: BLE001 - whatever it is, the case reports it
        return Case(answers, str(target), error=f"{type(error).__name__}: {error}")
    return Case(answers, str(target), digest=_digest(project))


def _digest(project: Project) -> str:
    """A digest of what the project's suite runs or reads, license and Python version apart."""
    digest = hashlib.sha256()
    for file in project.files:
        if file == "pyproject.toml":
            settings = tomllib.loads(project.read(file))
            for key in ("license", "license-files", "classifiers", "requires-python"):
                settings["project"].pop(key, None)
            settings["tool"]["ruff"].pop("target-version", None)
            settings["tool"].pop("vercel", None)  # read on Vercel only
            content = json.dumps(settings, sort_keys=True)
        elif file.endswith((".py", ".ini", ".mako")) or file == ".env.example":
            content = project.read(file)
        else:
            continue
        digest.update(f"{file}\0{content}\0".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Python:
    version: str
    path: str


def other_pythons() -> list[Python]:
    """The newest of each version that projects may require, other than the running one.

    What pyenv installed is on PATH only where it was chosen, so its directories are added.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    variables = environment()
    directories = [variables["PATH"], *map(str, sorted(pyenv.glob("versions/*/bin")))]
    listed = subprocess.run(
        ["uv", "python", "list", "--only-installed", "--output-format=json"],
        env=variables | {"PATH": os.pathsep.join(directories)},
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    paths: dict[str, str] = {}
    for python in json.loads(listed.stdout):  # the newest first
        release = re.fullmatch(r"(\d+\.\d+)\.\d+", python["version"])
        if release and (python["implementation"], python["variant"]) == ("cpython", "default"):
            paths.setdefault(release[1], python["path"])
    paths.pop("{}.{}".format(*sys.version_info), None)
    supported = choices("python_version")
    return [Python(version, paths[version]) for version in supported if version in paths]
