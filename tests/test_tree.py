"""Which files each answer brings, and which stay away without it."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.conftest import Render
from tests.hygiene import copy_with
from tests.questions import REPOSITORY, choices

BROUGHT = {
    "layout": (
        {"preset": "custom", "database": "none"},
        {"preset": "minimal"},
        ["app/api", "app/core", "app/schemas", "app/services"],
    ),
    "database": (
        {"preset": "custom"},
        {"preset": "custom", "database": "none"},
        ["app/db", "app/models", "migrations/versions", "alembic.ini"],
    ),
    "postgresql": (
        {"preset": "production"},
        {"preset": "standard"},
        ["scripts/with_postgresql.py"],
    ),
    "api_key": (
        {"preset": "internal"},
        {"preset": "production"},
        ["app/cli/api_keys.py", "app/models/api_keys.py", "app/services/api_keys/stored.py"],
    ),
    "jwt": (
        {"preset": "production"},
        {"preset": "internal"},
        ["app/api/auth", "app/cli/users.py", "app/models/auth.py", "app/services/auth"],
    ),
    "oauth2": (
        {"preset": "kubernetes"},
        {"preset": "production"},
        ["app/api/oidc", "app/models/oidc.py", "app/services/oidc"],
    ),
    "docker": ({}, {"deploy": "none"}, ["Dockerfile", ".dockerignore", "compose.yaml", "deploy"]),
    "kubernetes": (
        {"preset": "kubernetes"},
        {"preset": "production"},
        ["deploy/kubernetes/base", "deploy/kubernetes/overlays/production"],
    ),
    "vercel": ({"preset": "serverless"}, {"preset": "kubernetes"}, ["vercel.json"]),
    "github": ({}, {"ci": "none"}, [".github"]),
    "gitlab": ({"ci": "gitlab"}, {}, [".gitlab-ci.yml", "renovate.json"]),
    "license": ({"license": "mit"}, {}, ["LICENSE"]),
}


@pytest.mark.parametrize("scenario", BROUGHT)
def test_answer_brings_files(render: Render, scenario: str) -> None:
    chosen, _, brought = BROUGHT[scenario]

    project = render(**chosen)

    assert [path for path in brought if not (project.path / path).exists()] == []


@pytest.mark.parametrize("scenario", BROUGHT)
def test_files_stay_away_without_their_answer(render: Render, scenario: str) -> None:
    _, left_out, brought = BROUGHT[scenario]

    project = render(**left_out)

    assert [path for path in brought if (project.path / path).exists()] == []


def test_every_answer_has_a_scenario() -> None:
    answers = {answer for question in ("auth", "deploy", "ci") for answer in choices(question)}

    assert answers - {"none"} <= set(BROUGHT)


def test_every_file_of_a_feature_exists() -> None:
    table = (REPOSITORY / "extensions" / "features.jinja").read_text(encoding="utf-8")
    files = re.findall(r"^    '/(.+)',$", table, re.MULTILINE)
    template = REPOSITORY / "template"

    assert len(files) > 50
    missing = [
        file
        for file in files
        if not (template / file).exists() and not (template / f"{file}.jinja").exists()
    ]
    assert missing == []


def test_what_is_left_out_is_one_line_that_never_changes() -> None:
    """On update, Copier renders that of the new release with the answers of the old one."""
    settings = yaml.safe_load((REPOSITORY / "copier.yml").read_text(encoding="utf-8"))

    assert settings["_exclude"] == [
        "{% from 'extensions/features.jinja' import left_out with context %}{{ left_out() }}"
    ]


COMMON = [
    *(".copier-answers.yml", ".editorconfig", ".env.example", ".gitattributes", ".gitignore"),
    *(".pre-commit-config.yaml", "AGENTS.md", "Makefile", "README.md", "pyproject.toml"),
    *("app/__init__.py", "app/main.py", "tests/__init__.py"),
]


@pytest.mark.parametrize("preset", ["minimal", "standard", "production"])
def test_every_project_has(render: Render, preset: str) -> None:
    assert [file for file in COMMON if file not in render(preset=preset).files] == []


@pytest.mark.parametrize("document", ["README.md", "AGENTS.md"])
@pytest.mark.parametrize("preset", ["minimal", "standard", "production"])
def test_document_tells_where_uv_is_before_it_is_used(
    render: Render, preset: str, document: str
) -> None:
    project = render(preset=preset)
    installed = re.search(r"^(.+)/uv:$", project.read("Makefile"), re.MULTILINE)
    assert installed

    before, export, _ = project.read(document).partition(f'export PATH="$PWD/{installed[1]}:$PATH"')

    assert export
    assert "make " in before
    assert "uv run" not in before


@pytest.mark.parametrize("preset", ["minimal", "standard", "production"])
def test_no_lock_file_is_shipped(render: Render, preset: str) -> None:
    """It would conflict on every update; the first `uv sync` makes it."""
    assert not (render(preset=preset).path / "uv.lock").exists()


@pytest.mark.parametrize("preset", ["minimal", "standard", "production"])
def test_git_ignores_secrets_and_leftovers_only(
    render: Render, tmp_path: Path, preset: str
) -> None:
    project = copy_with(render(preset=preset), tmp_path, "README.md", "")
    left = [
        ".coverage",
        ".coverage.host.1",
        ".env",
        ".env.production",
        ".keys/private.pem",
        ".mypy_cache/x",
        ".postgresql/PG_VERSION",
        ".venv/x",
        "app.db",
        "app.db-wal",
        "app/__pycache__/a",
    ]
    for file in left:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "--quiet"], check=True)

    listing = [*git, "ls-files", "--others", "--exclude-standard"]
    kept = subprocess.run(listing, check=True, capture_output=True, text=True).stdout

    assert sorted(kept.splitlines()) == [file for file in project.files if file not in left]


def test_git_ignores_the_same_files_whatever_the_answers(render: Render) -> None:
    """Otherwise a change of answers could get a key committed."""
    projects = [render(preset=preset) for preset in ("minimal", "standard", "kubernetes")]

    assert len({project.read(".gitignore") for project in projects}) == 1


def test_minimal_application_is_one_short_module(render: Render) -> None:
    project = render(preset="minimal")
    modules = [file for file in project.files if file.startswith("app/")]

    assert modules == ["app/__init__.py", "app/__main__.py", "app/main.py"]
    assert project.read("app/main.py").count("\n") <= 130, "more than a minute's reading"


def test_minimal_application_with_api_keys_is_five_modules(render: Render) -> None:
    project = render(preset="minimal", auth="api_key")

    assert len([file for file in project.files if file.startswith("app/")]) <= 5
    assert project.read("app/main.py").count("\n") <= 130, "more than a minute's reading"


@pytest.mark.parametrize("version", choices("python_version"))
def test_lowest_python_is_what_tools_are_told(render: Render, version: str) -> None:
    settings = tomllib.loads(render(python_version=version).read("pyproject.toml"))

    assert settings["project"]["requires-python"] == f">={version}"
    assert settings["tool"]["ruff"]["target-version"] == f"py{version.replace('.', '')}"


@pytest.mark.parametrize("question", ["deploy", "ci", "license"])
def test_application_is_the_same_whatever(render: Render, question: str) -> None:
    """Where it runs and who may use it is no business of the application."""
    base = {"preset": "production", "deploy": "none", "ci": "none", "license": "none"}
    other = {"deploy": "kubernetes", "ci": "gitlab", "license": "mit"}

    one, two = render(**base), render(**base | {question: other[question]})

    def application(files: list[str]) -> list[str]:
        return [file for file in files if file.startswith("app/")]

    assert application(one.files) == application(two.files)
    assert all(one.read(file) == two.read(file) for file in application(one.files))
