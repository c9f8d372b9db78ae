"""The real command, as whoever generates a project runs it: without `--trust`."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import Render
from tests.projects import Project, checks, environment, recorded_answers, run
from tests.questions import PRESETS, Answers


def copier(
    *arguments: str | Path, directory: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "copier", *map(str, arguments)],
        cwd=directory,
        env=environment(),
        check=False,
        capture_output=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
    )


def commit(repository: Path, message: str, tag: str | None = None) -> None:
    git = ["git", "-C", str(repository)]
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", f"--message={message}"], check=True)
    if tag:
        subprocess.run([*git, "tag", tag], check=True)


@pytest.fixture
def repository(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of the template, released as 1.0.0; git has no settings but an identity."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Tester")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "tester@example.com")
    repository = tmp_path / "repository"
    shutil.copytree(template, repository)
    subprocess.run(["git", "init", "--quiet", str(repository)], check=True)
    commit(repository, "feat: release", "1.0.0")
    return repository


@pytest.mark.parametrize("preset", PRESETS)
def test_copy(render: Render, template: Path, tmp_path: Path, preset: str) -> None:
    result = copier("copy", "--defaults", f"--data=preset={preset}", template, tmp_path / "made")

    assert result.returncode == 0, result.stderr
    made = Project(tmp_path / "made", recorded_answers(tmp_path / "made"))
    expected = render(preset=preset)
    assert made.files == expected.files
    assert all(made.read(file) == expected.read(file) for file in made.files)


def test_copy_says_what_comes_next(template: Path, tmp_path: Path) -> None:
    result = copier("copy", "--defaults", template, tmp_path / "my project")

    assert f"  cd '{tmp_path}/my project'\n  git init\n  make dev\n" in result.stderr


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("project_name=a\nb", "must be one line without control or invisible characters"),
        ("project_slug=fastapi", "is the name of a package that projects depend on"),
        ("preset=huge", "'huge' is not in ['minimal', "),
        ("layout=minimal", "layout=minimal keeps its items in memory: use layout=modular"),
        ("database=none", "users are kept in a database: use database=sqlite"),
        ("deploy=vercel", "a function has no disk that lasts for a SQLite file"),
    ],
)
def test_copy_refuses(template: Path, tmp_path: Path, answer: str, reason: str) -> None:
    result = copier("copy", "--defaults", f"--data={answer}", template, tmp_path / "made")

    assert result.returncode != 0
    assert reason in result.stderr
    assert not (tmp_path / "made").exists()


def test_copy_from_a_repository_records_its_release(repository: Path, tmp_path: Path) -> None:
    result = copier("copy", "--defaults", f"git+file://{repository}", tmp_path / "made")

    assert result.returncode == 0, result.stderr
    recorded = yaml.safe_load((tmp_path / "made/.copier-answers.yml").read_text(encoding="utf-8"))
    assert recorded["_commit"] == "1.0.0"
    assert recorded["_src_path"] == f"git+file://{repository}"


def data(answers: Answers) -> list[str]:
    return [f"--data={name}={answer}" for name, answer in answers.items()]


def start(repository: Path, project: Path, answers: Answers) -> Path:
    """Make a project of the newest release and commit it."""
    source = f"git+file://{repository}"
    copied = copier("copy", "--defaults", *data(answers), source, project)
    assert copied.returncode == 0, copied.stderr
    subprocess.run(["git", "init", "--quiet", str(project)], check=True)
    commit(project, "feat: start")
    return project


@pytest.fixture
def project(repository: Path, tmp_path: Path) -> Path:
    """A project of release 1.0.0, with free text that is hard to keep."""
    return start(repository, tmp_path / "project", {"project_name": "It's: {{ a }} 🚀 #1"})


def changed(project: Path) -> str:
    """What git says is changed since the last commit."""
    status = ["git", "-C", str(project), "status", "--porcelain"]
    return subprocess.run(status, check=True, capture_output=True, text=True).stdout


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_update_keeps_answers_and_local_edits(repository: Path, project: Path) -> None:
    answers = recorded_answers(project)
    edit(project / "Makefile", ".PHONY: help\n", ".PHONY: help\n# Ours\n")
    commit(project, "docs: note")
    edit(
        repository / "extensions/presets.jinja", "'database': 'sqlite'", "'database': 'postgresql'"
    )
    (repository / "template/NEW.md").write_text("New\n", encoding="utf-8")
    commit(repository, "feat: change the preset", "1.1.0")

    result = copier("update", "--defaults", directory=project)

    assert result.returncode == 0, result.stderr
    assert recorded_answers(project) == answers, "a preset that changed does not change a project"
    assert (project / "NEW.md").read_text(encoding="utf-8") == "New\n"
    assert "# Ours\n" in (project / "Makefile").read_text(encoding="utf-8")
    assert changed(project) == " M .copier-answers.yml\n?? NEW.md\n"


def test_update_changes_an_answer(project: Path) -> None:
    assert (project / "Dockerfile").exists()

    result = copier("update", "--defaults", "--data=deploy=none", directory=project)

    assert result.returncode == 0, result.stderr
    assert recorded_answers(project)["deploy"] == "none"
    assert not (project / "Dockerfile").exists()


def test_update_marks_conflicts_and_says_how_to_find_them(repository: Path, project: Path) -> None:
    edit(project / "Makefile", ".DEFAULT_GOAL := help\n", ".DEFAULT_GOAL := dev\n")
    commit(project, "build: serve by default")
    makefile = next((repository / "template").glob("Makefile*"))
    edit(makefile, ".DEFAULT_GOAL := help\n", ".DEFAULT_GOAL := test\n")
    commit(repository, "feat: test by default", "1.1.0")

    result = copier("update", "--defaults", directory=project)

    assert result.returncode == 0, "Copier calls an update with conflicts a success"
    assert "`make update` lists them" in result.stderr
    check = ["git", "-C", str(project), "diff", "--check"]
    found = subprocess.run(check, check=False, capture_output=True, text=True).stdout
    assert "Makefile:" in found
    assert "leftover conflict marker" in found


def test_update_refuses_an_answer_against_the_rules(project: Path) -> None:
    result = copier("update", "--defaults", "--data=deploy=vercel", directory=project)

    assert result.returncode != 0
    assert "a function has no disk that lasts for a SQLite file" in result.stderr


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"database": "none", "auth": "none"}, {"database": "sqlite"}),
        ({"database": "sqlite"}, {"database": "postgresql"}),
        ({"database": "postgresql"}, {"database": "none", "auth": "none"}),
    ],
    ids=lambda answers: answers["database"],
)
def test_update_to_another_database_is_as_if_generated_with_it(
    repository: Path, render: Render, tmp_path: Path, before: Answers, after: Answers
) -> None:
    project = start(repository, tmp_path / "project", before)

    result = copier("update", "--defaults", *data(after), directory=project)

    assert result.returncode == 0, result.stderr
    made, expected = Project(project, {}), render(**{**before, **after})
    assert made.files == expected.files
    differing = [file for file in made.files if made.read(file) != expected.read(file)]
    assert differing == [".copier-answers.yml"], "it records the release"


def test_update_leaves_migrations_that_exist(repository: Path, project: Path) -> None:
    """Edited here, changed in the release: neither rewritten nor merged."""
    first = project / "migrations/versions/0001_first.py"
    edit(first, "The first tables.", "What we began with.")
    (project / "migrations/versions/0002_ours.py").write_text("# Ours\n", encoding="utf-8")
    commit(project, "feat: migrate")
    released = repository / "template/migrations/versions/0001_first.py.jinja"
    edit(released, "The first tables.", "All tables.")
    edit(released, 'op.drop_table("items")', 'op.drop_table("items")  # first')
    commit(repository, "feat: change the first migration", "1.1.0")

    result = copier("update", "--defaults", directory=project)

    assert result.returncode == 0, result.stderr
    assert changed(project) == " M .copier-answers.yml\n"


def test_update_to_another_preset_changes_nothing_else(project: Path) -> None:
    answers = recorded_answers(project)

    result = copier("update", "--defaults", "--data=preset=production", directory=project)

    assert result.returncode == 0, result.stderr
    assert recorded_answers(project) == answers | {"preset": "production"}
    assert changed(project) == " M .copier-answers.yml\n"


def test_project_with_other_answers_passes_its_checks_once_it_is_migrated(
    repository: Path, render: Render, outside: Path
) -> None:
    project = start(repository, outside / "updated", {"preset": "standard"})
    shipped = "migrations/versions/0001_first.py"
    first = (project / shipped).read_bytes()

    answers = {"database": "postgresql", "auth": "oauth2"}
    result = copier("update", "--defaults", *data(answers), directory=project)
    assert result.returncode == 0, result.stderr
    made, expected = Project(project, recorded_answers(project)), render(**answers)
    assert made.files == expected.files
    differing = [file for file in made.files if made.read(file) != expected.read(file)]
    assert differing == [".copier-answers.yml", shipped]
    result = run(["make", "migration", "m=update"], project)
    assert result.returncode == 0, result.stdout

    (revision,) = (project / "migrations/versions").glob("*_update.py")
    written = revision.read_text(encoding="utf-8")
    created = re.findall(r'op\.create_table\(\s*"(\w+)"', written)
    assert sorted(created) == ["identities", "oidc_logins"]
    assert (project / shipped).read_bytes() == first
    # The matrix runs all checks of a project that has the same files but for the migrations. Here
    # run those that read or apply them, on PostgreSQL every test, on SQLite those with a database
    # of their own; among them is `alembic check`.
    commands = checks(made.answers)
    tests = [file for file in made.files if re.match(r"tests/.*/test_.*\.py", file)]
    migrating = [file for file in tests if "real_database_url" in made.read(file)]
    assert "tests/database/test_migrations.py" in migrating
    for command in (
        commands["format"],
        commands["lint"],
        [*commands["suite"], *migrating],
        commands["suite-on-postgresql"],
    ):
        result = run(command, project)
        assert result.returncode == 0, f"{written}\n{result.stdout}"
