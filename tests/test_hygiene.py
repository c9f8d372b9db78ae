"""The checks of hygiene find what they are there to find. The matrix runs them on every project."""

from pathlib import Path

import pytest

from tests.conftest import Render
from tests.hygiene import CHECKS, copy_with, faults

PLANTED = {
    "no_jinja_is_left": [
        ("README.md", "\n{{ project_name }}\n"),
        ("README.md", "\n{% if x %}\n"),
        ("README.md", "\n{# x #}\n"),
        ("app/x.py.jinja", ""),
    ],
    "lines_end_as_they_should": [
        ("README.md", "\nx \n"),
        ("README.md", "\nx\r\n"),
        ("README.md", "\nx"),
        ("README.md", "\n"),
    ],
    "no_blank_line_too_many": [
        ("README.md", "\n\n\nx\n"),
        ("x.txt", "\nx\n"),
        ("x.yaml", "a:\n\n  b: c\n"),
        ("x.yml", "a:\n  - b:\n\n      c: d\n"),
    ],
    "every_file_parses": [
        ("x.toml", "a = b\n"),
        ("x.yaml", "a: b: c\n"),
        ("x.json", "{,}\n"),
        ("x.py", "a b\n"),
    ],
    "ruff_is_content": [
        ("app/x.py", "x = {'a' : 1}\n"),
        ("app/x.py", "import os\n"),
    ],
    "nothing_is_mentioned_that_was_not_chosen": [
        ("README.md", "\nDatabase\n"),
        ("README.md", "\npsql\n"),
        ("app/x.py", "SIGN_UP = 1\n"),
        ("app/docker.py", ""),
        ("README.md", "\nX-API-Key\n"),
        ("x.txt", "MIT\n"),
        (".gitignore", ".import_linter_cache/\n"),
        (".gitignore", ".postgresql/x\n"),
    ],
    "every_dependency_is_a_reserved_name": [
        ("pyproject.toml", '\n[dependency-groups.x]\n"Zope.Interface>=1" = []\n'),
    ],
    "documents_point_at_what_exists": [
        ("README.md", "\n[x](docs/missing.md)\n"),
        ("README.md", "\n    make nothing\n"),
        ("README.md", "\nRun `make nothing`.\n"),
        ("README.md", "\nSee `app/missing.py`.\n"),
        ("README.md", "\n    uv run pytest tests/test_missing.py -k x\n"),
    ],
    "documents_name_tests_that_exist": [
        ("README.md", "\n| rule | `test_that_is_missing` |\n"),
    ],
    "example_environment_lists_every_setting": [
        (".env.example", "UNKNOWN=1\n"),
        ("app/x.py", "class Settings(BaseSettings):\n    unlisted: int\n"),
    ],
}


@pytest.mark.parametrize(
    ("check", "file", "content"),
    [(check, *planted) for check, many in PLANTED.items() for planted in many],
)
def test_planted_fault_is_found(
    render: Render, tmp_path: Path, check: str, file: str, content: str
) -> None:
    project = copy_with(render(preset="minimal"), tmp_path, file, content)

    assert any(fault.startswith(f"{check}: ") for fault in faults(project))


def test_empty_directory_is_found(render: Render, tmp_path: Path) -> None:
    project = copy_with(render(preset="minimal"), tmp_path, "README.md", "")
    (tmp_path / "empty").mkdir()

    assert "no_directory_is_empty: empty: empty" in faults(project)


def test_every_check_is_seen_to_find_something() -> None:
    assert {check.__name__ for check in CHECKS} == {*PLANTED, "no_directory_is_empty"}
