"""`make update` in a project: what it refuses, reports and keeps."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.projects import environment
from tests.test_cli import commit, edit, project, repository, start

__all__ = ["project", "repository"]


@pytest.fixture
def minimal(repository: Path, tmp_path: Path) -> Path:
    """A small project of release 1.0.0."""
    return start(repository, tmp_path / "minimal", {"preset": "minimal"})


def update(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "scripts/update.py", *arguments],
        cwd=directory,
        env=environment() | {"COPIER": f"{sys.executable} -m copier"},
        check=False,
        capture_output=True,
        encoding="utf-8",
    )


def test_update_names_both_releases_and_changes_an_answer(repository: Path, minimal: Path) -> None:
    (repository / "template/NEW.md").write_text("New\n", encoding="utf-8")
    commit(repository, "feat: add a file", "1.1.0")

    result = update(minimal, "--answers", "ci=github,license=mit")

    assert result.returncode == 0, result.stdout + result.stderr
    assert "From release 1.0.0 to 1.1.0." in result.stdout
    assert (minimal / "NEW.md").exists()
    assert (minimal / ".github").exists()
    assert (minimal / "LICENSE").exists()


def test_update_is_refused_while_changes_are_uncommitted(minimal: Path) -> None:
    edit(minimal / "README.md", "## Try it", "## Try")

    result = update(minimal)

    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "commit or stash them" in result.stderr


def test_update_is_refused_outside_git(minimal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (minimal / ".git").rename(minimal.parent / "git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(minimal.parent))

    result = update(minimal)

    assert result.returncode == 2
    assert "run `git init`" in result.stderr


def test_update_is_refused_when_the_template_is_gone(repository: Path, minimal: Path) -> None:
    repository.rename(repository.parent / "moved")

    result = update(minimal)

    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_conflict_is_listed_by_line_until_it_is_resolved(repository: Path, minimal: Path) -> None:
    edit(minimal / "Makefile", "PORT ?= 8000", "PORT ?= 9000")
    commit(minimal, "feat: another port")
    edit(repository / "template/Makefile.jinja", "PORT ?= 8000", "PORT ?= 7000")
    commit(repository, "feat: another port", "1.1.0")

    result = update(minimal)

    assert result.returncode == 1
    assert "Makefile:3: you have 1 line, the template has 1 line for" in result.stdout
    subprocess.run(["git", "-C", str(minimal), "add", "--all"], check=True)
    assert update(minimal, "--check").returncode == 1
    assert update(minimal, "--markers", "Makefile", "README.md").returncode == 1
    text = (minimal / "Makefile").read_text(encoding="utf-8")
    before, _, rest = text.partition("<<<<<<<")
    (minimal / "Makefile").write_text(before + rest.partition(">>>>>>>")[2].partition("\n")[2])
    assert update(minimal, "--check").returncode == 0


def test_changed_file_that_the_release_removes_is_kept_beside_its_place(
    repository: Path, minimal: Path
) -> None:
    edit(minimal / ".editorconfig", "root = true", "root = true\n# Ours")
    commit(minimal, "docs: note")
    (repository / "template/.editorconfig").unlink()
    (repository / "template/.gitattributes").unlink()
    commit(repository, "feat: remove files", "1.1.0")

    result = update(minimal)

    assert result.returncode == 1
    assert ".editorconfig.yours: the template moved or removed .editorconfig" in result.stdout
    assert "# Ours" in (minimal / ".editorconfig.yours").read_text(encoding="utf-8")
    assert not (minimal / ".gitattributes.yours").exists()
    assert update(minimal, "--check").returncode == 1


def test_notices_of_the_releases_passed_are_printed(repository: Path, minimal: Path) -> None:
    notices = repository / "template/scripts/notices.json"
    notices.write_text(
        '[{"release": "1.0.0", "notice": "Old."},'
        ' {"release": "1.1.0", "notice": "PORT is read.", "removed_settings": ["OLD_PORT"]},'
        ' {"release": "2.0.0", "notice": "Later."}]\n'
    )
    commit(repository, "feat: read PORT", "1.1.0")
    (minimal / ".env").write_text("OLD_PORT=1\n")

    output = update(minimal).stdout

    assert "1.1.0: PORT is read." in output
    assert "1.1.0: .env has OLD_PORT" in output
    assert "Old." not in output
    assert "Later." not in output
