"""`make resource` and `make resource-remove`, as the developers of a project run them."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.projects import checks, generate, run

PROJECT_FIELDS = (
    "name:str! status:draft|active|done due_on:date? budget:decimal? notes:text? active:bool"
    " count:int ratio:float? starts_at:datetime? external_id:uuid? data:json?"
)
TASK_FIELDS = "title:str project:ref(project) tags:list(ref(tag)) item:ref(item)? position:int"
KINDS = {
    "standard": {"preset": "standard"},
    "internal": {"preset": "internal"},
    "memory": {"preset": "custom", "database": "none", "auth": "none"},
}
# A fault in the code of a resource: where, what, and what it becomes.
MUTATIONS = {
    "owner": ("app/services/auth/owned.py", "{} if caller.is_admin else", "{} if True else"),
    "conflict": ("app/services/projects.py", "    conflict = ProjectConflictError\n", ""),
    "sort": ("app/db/repository.py", 'sort.startswith("-")', "True"),
    "deletion": ("app/db/repository.py", ".values(is_active=False)", ".values(is_active=True)"),
}


@dataclass(frozen=True)
class Made:
    """A project with resources in it."""

    path: Path
    answers: dict[str, str]

    def make(self, target: str, **variables: str) -> subprocess.CompletedProcess[str]:
        values = [f"{name}={value}" for name, value in variables.items()]
        return run(["make", "--silent", target, *values], self.path)

    def commit(self) -> None:
        for command in (["add", "--all"], ["commit", "--quiet", "--message", "x", "--no-verify"]):
            subprocess.run(["git", *command], cwd=self.path, check=True)

    def status(self) -> list[str]:
        return run(["git", "status", "--porcelain"], self.path).stdout.splitlines()


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest, template: Path, outside: Path) -> Made:
    kind: str = request.param
    project = generate(template, outside / f"resource-{kind}", KINDS[kind])
    made = Made(project.path, dict(project.answers))
    assert run(["uv", "sync"], made.path).returncode == 0
    subprocess.run(["git", "init", "--quiet"], cwd=made.path, check=True)
    made.commit()
    return made


def test_faults_are_told_at_once_and_nothing_is_written(made: Made) -> None:
    fields = "class:str id:int size:huge name:str name:str flag:bool!"

    result = made.make("resource", name="Item", fields=fields)

    assert result.returncode != 0
    for part in ("'Item'", "'class'", "'id'", "'huge'", "'name': is there twice", "'flag'"):
        assert part in result.stdout
    assert "Traceback" not in result.stdout
    assert made.status() == []


def test_what_would_be_written_is_shown(made: Made) -> None:
    result = made.make("resource", name="project", fields=PROJECT_FIELDS, DRY="1")

    assert result.returncode == 0, result.stdout
    assert "app/services/projects.py" in result.stdout
    assert made.status() == []


def test_resources_pass_every_check_of_the_project_and_can_be_removed(made: Made) -> None:
    write(made, "project", PROJECT_FIELDS)
    if made.answers["database"] != "none":
        write(made, "tag", "label:str!")
        write(made, "task", TASK_FIELDS)
    commands = checks(made.answers)
    for name, command in commands.items():
        if not name.startswith("suite"):
            result = run(command, made.path)
            assert result.returncode == 0, f"{name}: {result.stdout}"
    tests = ["projects", "tags", "tasks", "database", "auth/test_authorization.py", "http"]
    chosen = [f"tests/{path}" for path in tests if exists(made, f"tests/{path}")]
    suite = ["uv", "run", "pytest", "--quiet", "--numprocesses=2"]
    if made.answers["database"] == "postgresql":
        suite.append("--database=postgresql")
    result = run([*suite, *chosen], made.path)
    assert result.returncode == 0, result.stdout

    if made.answers["auth"] == "jwt":
        for name, mutation in MUTATIONS.items():
            assert is_caught(made, *mutation), name

    for name in ("task", "tag", "project"):
        if exists(made, f"app/schemas/{name}.py"):
            removed = made.make("resource-remove", name=name)
            assert removed.returncode == 0, removed.stdout
            made.commit()
    assert run(["uv", "run", "ruff", "check"], made.path).returncode == 0
    assert run(["uv", "run", "mypy"], made.path).returncode == 0
    code = "".join(path.read_text() for path in (made.path / "app").rglob("*.py"))
    assert not re.search(r"[Pp]roject(s|Service|_id)\b", code)


def write(made: Made, name: str, fields: str) -> None:
    result = made.make("resource", name=name, fields=fields)
    assert result.returncode == 0, result.stdout
    made.commit()


def exists(made: Made, path: str) -> bool:
    return (made.path / path).exists()


def is_caught(made: Made, file: str, right: str, wrong: str) -> bool:
    """Whether the tests of the resource fail over a fault."""
    path = made.path / file
    text = path.read_text(encoding="utf-8")
    assert right in text
    path.write_text(text.replace(right, wrong), encoding="utf-8")
    result = run(["uv", "run", "pytest", "--quiet", "-x", "tests/projects"], made.path)
    path.write_text(text, encoding="utf-8")
    return result.returncode == 1
