"""The weekly update from the template does what it should, run on a repository with its like."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from tests.conftest import Render

pytestmark = [pytest.mark.deploy, pytest.mark.xdist_group("deploy-files")]

# Copier, as far as the pipelines see it: a newer template, whose update changes a file.
UVX = """#!/bin/sh
case $* in
  *check-update*) exit "${UPDATE:-2}";;
  *update*) env > "$SEEN"; printf '%s\\n' "$CHANGE" >> README.md;;
esac
"""
# GitHub's client: how many requests are open, and a record of what it was asked for.
GH = """#!/bin/sh
echo "$@" >> "$ASKED"
case $* in "pr list"*) echo "${OPEN:-0}";; esac
"""
# GitLab: a record of what pushes asked for.
RECEIVED = """#!/bin/sh
env | grep '^GIT_PUSH_OPTION_[0-9]' >> "$ASKED" || true
"""
TOKEN = "the-token"  # noqa: S105, made up


class Repository:
    def __init__(self, directory: Path) -> None:
        self.work = directory / "work"
        self.asked = directory / "asked"
        self.seen = directory / "seen"
        self.output = directory / "output"
        self.remote = directory / "remote.git"
        for path in (self.asked, self.seen, self.output):
            path.touch()
        for name, text in {"uvx": UVX, "gh": GH}.items():
            program = directory / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(text)
            program.chmod(0o755)
        self._variables = {
            "PATH": f"{directory / 'bin'}:{os.environ['PATH']}",
            "HOME": str(directory),
            "ASKED": str(self.asked),
            "SEEN": str(self.seen),
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_REPOSITORY": "them/it",
            "GITLAB_USER_NAME": "A",
            "GITLAB_USER_EMAIL": "a@example.com",
            "CI_DEFAULT_BRANCH": "main",
            "CI_SERVER_HOST": "gitlab.example.com",
            "CI_PROJECT_PATH": "them/it",
            "CHANGE": "updated",
        }
        self.run(f"git init --quiet --bare --initial-branch main {self.remote}", directory)
        hook = self.remote / "hooks" / "post-receive"
        hook.write_text(RECEIVED)
        hook.chmod(0o755)
        for forge in (
            f"https://x-access-token:{TOKEN}@github.com/them/it",
            f"https://token:{TOKEN}@gitlab.example.com/them/it.git",
        ):
            key = f"url.{self.remote}.insteadOf"
            self.run(f'git config --global --add "{key}" "{forge}"', directory)
        self.run(
            f"""
            git config --global user.name A && git config --global user.email a@example.com
            git config --global receive.advertisePushOptions true
            git clone --quiet {self.remote} {self.work} && cd {self.work}
            echo one > README.md && git add . && git commit --quiet -m one && git push --quiet
            """,
            directory,
        )

    def run(
        self,
        script: str,
        directory: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        result = subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=directory or self.work,
            env=self._variables | dict(variables or {}),
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert result.returncode == 0, result.stdout

    def branch(self) -> str:
        """What README says on the branch of the update; nothing without one."""
        shown = subprocess.run(
            ["git", "show", "template-update:README.md"],
            cwd=self.remote,
            check=False,
            capture_output=True,
            text=True,
        )
        return shown.stdout

    def someone_works_on_the_update(self) -> None:
        self.run(
            "git switch --quiet --create template-update && echo theirs > README.md &&"
            " git commit --quiet --all -m theirs && git push --quiet origin template-update &&"
            " git switch --quiet main && git branch --quiet --delete --force template-update"
        )


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def update_on_github(render: Render, repository: Repository, **variables: str) -> None:
    """Run the steps as GitHub does: each with its own variables, if its condition holds."""
    text = render(preset="production").read(".github/workflows/template.yml")
    job = yaml.safe_load(text)["jobs"]["update"]
    for step in job["steps"]:
        if "run" not in step or not _holds(step.get("if"), repository.output.read_text()):
            continue
        environment = {**job["env"], **step.get("env", {})}
        values = {name: TOKEN if "${{" in value else value for name, value in environment.items()}
        repository.run(step["run"], variables=variables | values)


def _holds(condition: str | None, outputs: str) -> bool:
    if condition is None:
        return True
    found = re.fullmatch(r"steps\.\w+\.outputs\.(\w+) == '(\d)'", condition)
    assert found
    return f"{found[1]}={found[2]}\n" in outputs


def update_on_gitlab(render: Render, repository: Repository, **variables: str) -> None:
    """Run the jobs as GitLab does: each in its own clone, with what the one before it left.

    Only a job with an environment is given the variables that are scoped to it.
    """
    jobs = yaml.safe_load(render(preset="internal", ci="gitlab").read(".gitlab-ci.yml"))
    artifacts: list[Path] = []
    for name in ("template", "template-request"):
        job, directory = jobs[name], repository.work.parent / name
        repository.run(f"git clone --quiet {repository.remote} {directory}", directory.parent)
        repository.run("git switch --quiet --detach main", directory)
        for artifact in artifacts:
            shutil.copy(artifact, directory)
        scoped = {"TEMPLATE_UPDATE_TOKEN": TOKEN} if "environment" in job else {}
        for script in job["script"]:
            repository.run(script, directory, variables | job["variables"] | scoped)
        named = [directory / path for path in job.get("artifacts", {}).get("paths", [])]
        artifacts = [path for path in named if path.exists()]


Update = Callable[..., None]
UPDATES = pytest.mark.parametrize("update", [update_on_github, update_on_gitlab])


@UPDATES
def test_newer_template_is_proposed(render: Render, repository: Repository, update: Update) -> None:
    update(render, repository)

    assert repository.branch() == "one\nupdated\n"


@UPDATES
def test_newest_template_changes_nothing(
    render: Render, repository: Repository, update: Update
) -> None:
    update(render, repository, UPDATE="0")

    assert repository.branch() == ""


@UPDATES
def test_work_on_an_update_is_left_alone(
    render: Render, repository: Repository, update: Update
) -> None:
    repository.someone_works_on_the_update()

    update(render, repository, OPEN="1")

    assert repository.branch() == "theirs\n"


@UPDATES
def test_copier_sees_no_token(render: Render, repository: Repository, update: Update) -> None:
    update(render, repository)

    assert "PATH=" in repository.seen.read_text()
    assert TOKEN not in repository.seen.read_text()


def test_closed_update_makes_room_for_the_next(render: Render, repository: Repository) -> None:
    """GitHub keeps the branch of a request that was closed or merged."""
    repository.someone_works_on_the_update()

    update_on_github(render, repository, OPEN="0")

    assert repository.branch() == "one\nupdated\n"
    assert "pr create --head template-update" in repository.asked.read_text()


@UPDATES
def test_conflicts_are_announced(render: Render, repository: Repository, update: Update) -> None:
    update(render, repository, CHANGE="<<<<<<< before")

    assert re.search("There are conflicts|with conflicts", repository.asked.read_text())


@UPDATES
def test_update_without_conflicts_announces_none(
    render: Render, repository: Repository, update: Update
) -> None:
    update(render, repository)

    assert "chore: update from the template" in repository.asked.read_text()
    assert "conflicts" not in repository.asked.read_text()
