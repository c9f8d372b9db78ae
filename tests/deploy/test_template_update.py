"""The weekly update from the template does what it should, run on a repository with its like."""

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from tests.conftest import Render
from tests.projects import environment

pytestmark = [pytest.mark.deploy, pytest.mark.xdist_group("deploy-files")]

# uv, as far as the pipelines see it, which installs a Copier that knows of a newer template: its
# update changes a file, and runs whatever the template tells it.
UV = """#!/bin/sh
case $* in
  "venv "*) for last; do :; done; mkdir -p "$last/bin";;
  "pip install --quiet --python "*--require-hashes*scripts/copier.txt)
    printf '%s' "$COPIER" > "$5/bin/copier"
    chmod +x "$5/bin/copier";;
  *) exit 99;;
esac
"""
COPIER = """#!/bin/sh
case $* in
  *check-update*) exit "${UPDATE:-2}";;
  *update*)
    env >> "$SEEN"
    mkdir -p "$(dirname "${CHANGED:-README.md}")"
    printf '%s\\n' "$CHANGE" >> "${CHANGED:-README.md}"
    eval "${ATTACK:-}";;
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
        for name, text in {"uv": UV, "gh": GH}.items():
            program = directory / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(text)
            program.chmod(0o755)
        self._variables = environment() | {
            "PATH": f"{directory / 'bin'}:{environment()['PATH']}",
            "GIT_CONFIG_GLOBAL": str(directory / ".gitconfig"),
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
            "COPIER": COPIER,
            "RUNNER_TEMP": str(directory),
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

    def cloned(self, name: str) -> Path:
        """A shallow clone of the newest commit alone, as runners make it."""
        directory = self.work.parent / name
        options = "--quiet --depth 1 --no-single-branch"
        self.run(f"git clone {options} file://{self.remote} {directory}", self.work.parent)
        return directory

    def branch(self, file: str = "README.md") -> str:
        """What the file says on the branch of the update; nothing without one."""
        shown = subprocess.run(
            ["git", "show", f"template-update:{file}"],
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
    """Run the steps as GitHub does: each job in its own clone, if its condition holds.

    A step has its own variables, and of secrets those that it names.
    """
    text = render(preset="production").read(".github/workflows/template.yml")
    workflow = yaml.safe_load(text)
    for name, job in workflow["jobs"].items():
        if not _holds(job.get("if"), repository.output.read_text()):
            continue
        directory = repository.cloned(name)
        for step in job["steps"]:
            if "run" not in step or not _holds(step.get("if"), repository.output.read_text()):
                continue
            environment = {**workflow["env"], **job.get("env", {}), **step.get("env", {})}
            values = {
                name: TOKEN if "${{" in value else value for name, value in environment.items()
            }
            repository.run(step["run"], directory, variables | values)
        if name == "render" and "TAMPER" in variables:
            patch = str(directory.parent / "update.patch")
            repository.run(variables["TAMPER"], directory, {"PATCH": patch})


def _holds(condition: str | None, outputs: str) -> bool:
    if condition is None:
        return True
    found = re.fullmatch(r"(?:steps|needs)\.\w+\.outputs\.(\w+) == '(\d)'", condition)
    assert found
    return f"{found[1]}={found[2]}\n" in outputs


def update_on_gitlab(render: Render, repository: Repository, **variables: str) -> None:
    """Run the jobs as GitLab does: each in its own clone, with what the one before it left.

    Only a job with an environment is given the variables that are scoped to it.
    """
    jobs = yaml.safe_load(render(preset="internal", ci="gitlab").read(".gitlab-ci.yml"))
    artifacts: list[Path] = []
    for name in ("template", "template-request"):
        job, directory = jobs[name], repository.cloned(name)
        for artifact in artifacts:
            shutil.copy(artifact, directory)
        scoped = {"TEMPLATE_UPDATE_TOKEN": TOKEN} if "environment" in job else {}
        for script in job["script"]:
            repository.run(script, directory, variables | job["variables"] | scoped)
        if name == "template" and "TAMPER" in variables:
            repository.run(variables["TAMPER"], directory, {"PATCH": "update.patch"})
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


# What a template that was taken over could have Copier write, to be run by whatever comes after it.
PLANT = """
    printf '#!/bin/sh\\nenv >> "$SEEN"\\n' > hook && chmod +x hook
    for name in pre-commit commit-msg post-commit post-checkout pre-push reference-transaction; do
        cp hook .git/hooks/$name
    done
    git config core.fsmonitor "$PWD/hook"
    git config filter.x.clean "$PWD/hook"
    git config filter.x.smudge "$PWD/hook"
    git config diff.x.command "$PWD/hook"
    git config diff.x.textconv "$PWD/hook"
    echo "* filter=x diff=x" > .gitattributes
"""


@UPDATES
def test_what_the_template_brings_never_sees_the_token(
    render: Render, repository: Repository, update: Update
) -> None:
    update(render, repository, ATTACK=PLANT)

    assert re.search("pr create|merge_request", repository.asked.read_text())
    assert "PATH=" in repository.seen.read_text()
    assert TOKEN not in repository.seen.read_text()


# In place of the patch that was made.
DOT_GIT = """
    hook=.git/hooks/pre-push
    printf '%s\\n' "diff --git a/$hook b/$hook" 'new file mode 100755' \\
        '--- /dev/null' "+++ b/$hook" '@@ -0,0 +1 @@' '+#!/bin/sh' > "$PATCH"
"""


@UPDATES
@pytest.mark.parametrize("file", [".github/workflows/ci.yml", ".gitlab-ci.yml"])
def test_update_that_changes_a_pipeline_is_left_to_a_person(
    render: Render, repository: Repository, update: Update, file: str
) -> None:
    """It would run as soon as it is pushed, with the secrets of the repository."""
    is_ours = (".github" in file) == (update is update_on_github)

    if is_ours:
        with pytest.raises(AssertionError, match="Update in a checkout, and review it"):
            update(render, repository, CHANGED=file)
    else:
        update(render, repository, CHANGED=file)

    assert (repository.branch() == "") == is_ours


@UPDATES
def test_patch_that_reaches_into_git_is_refused(
    render: Render, repository: Repository, update: Update
) -> None:
    """The job that makes it runs what it downloads, and may have been taken over."""
    with pytest.raises(AssertionError, match=r"invalid path '\.git/hooks/pre-push'"):
        update(render, repository, TAMPER=DOT_GIT)

    assert repository.branch() == ""


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


# A template whose newer version brings a hook, which Copier writes into the project's repository.
TEMPLATE = """
    git init --quiet --initial-branch main theirs && cd theirs
    printf '%s\\n' '_subdirectory: t' > copier.yml
    mkdir -p t && printf '%s' '{{ _copier_answers|to_nice_yaml }}' \\
        > 't/{{ _copier_conf.answers_file }}.jinja'
    echo one > t/file && git add . && git commit --quiet -m one && git tag 1.0.0
    hooks='t/{{ ".git" }}/hooks'
    echo two > t/file && mkdir -p "$hooks" && cp "$HOOK" "$hooks/pre-commit"
    git add . && git commit --quiet -m two && git tag 2.0.0
"""
PROJECT = """
    mkdir -p scripts && cp "$PINS" scripts/copier.txt
    printf '%s\\n' '_commit: 1.0.0' "_src_path: $TEMPLATE" > .copier-answers.yml
    echo one > file && git add . && git commit --quiet -m made && git push --quiet
"""


@pytest.fixture
def made_by_copier(render: Render, repository: Repository, tmp_path: Path) -> Repository:
    """A project of that template, and Copier itself."""
    (tmp_path / "bin" / "uv").unlink()
    hook = tmp_path / "hook"
    hook.write_text('#!/bin/sh\nenv >> "$SEEN"\n')
    hook.chmod(0o755)
    repository.run(TEMPLATE, tmp_path, {"HOOK": str(hook)})
    pins = render(preset="production").path / "scripts" / "copier.txt"
    made = {"PINS": str(pins), "TEMPLATE": str(tmp_path / "theirs")}
    repository.run(PROJECT, variables=made)
    return repository


@UPDATES
def test_hook_from_a_template_is_not_run(
    render: Render, made_by_copier: Repository, update: Update
) -> None:
    update(render, made_by_copier)

    written = made_by_copier.work.parent.glob("*/.git/hooks/pre-commit")
    assert list(written), "Copier has learnt to refuse it"
    assert made_by_copier.branch("file") == "two\n"
    assert made_by_copier.seen.read_text() == ""


def test_copier_that_is_not_the_pinned_one_is_refused(
    render: Render, made_by_copier: Repository
) -> None:
    """With a version's own name, and another content than it had."""
    made_by_copier.run(
        "sed --in-place --regexp-extended 's/sha256:.{4}/sha256:0000/' scripts/copier.txt &&"
        " git commit --quiet --all -m tampered && git push --quiet"
    )

    with pytest.raises(AssertionError, match="Hash mismatch"):
        update_on_github(render, made_by_copier)
