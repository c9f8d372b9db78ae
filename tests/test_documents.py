"""What the documents of this repository say is so."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.questions import ASKED, CONFIG, FACTS, FEATURES, PRESETS, QUESTIONS, REPOSITORY, choices
from tests.test_questions import PRESET_ANSWERS

DOCUMENTS = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]


def table(document: Path, first_heading: str) -> list[list[str]]:
    """The cells of the table whose first column has the heading."""
    text = document.read_text(encoding="utf-8")
    _, _, rest = text.partition(f"\n| {first_heading} |")
    rows = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_readme_has_the_presets() -> None:
    rows = table(REPOSITORY / "README.md", "preset")

    assert [words(row[0])[0] for row in rows] == PRESETS
    assert [tuple(row[1:]) for row in rows] == list(PRESET_ANSWERS.values())
    (default,) = (row[0] for row in rows if "(default)" in row[0])
    assert words(default) == [QUESTIONS["preset"]["default"]]


def test_readme_has_the_questions() -> None:
    rows = table(REPOSITORY / "README.md", "question")

    assert [words(row[0])[0] for row in rows] == ASKED
    assert {words(row[0])[0]: words(row[1]) for row in rows} == {
        question: choices(question) for question in ASKED
    }


def test_facts_are_documented() -> None:
    rows = table(REPOSITORY / "docs" / "writing-templates.md", "fact")

    assert sorted(words(row[0])[0] for row in rows) == sorted(FACTS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_and_commands_of_a_document_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    makefiles = [REPOSITORY / "Makefile", REPOSITORY / "template/Makefile.jinja"]
    targets = re.findall(
        r"^([a-z-]+):", "\n".join(path.read_text("utf-8") for path in makefiles), re.MULTILINE
    )

    for link in re.findall(r"\]\(([^):]+)\)", text):
        assert (document.parent / link.partition("#")[0]).exists(), link
    if document.parent == REPOSITORY:
        for target in re.findall(r"(?:^ +|`)make ([a-z-]+)", text, re.MULTILINE):
            assert target in targets, f"make {target}"


def test_decisions_are_listed() -> None:
    directory = REPOSITORY / "docs" / "decisions"
    listed = re.findall(r"\]\((\d{4}-[^)]+)\)", (directory / "README.md").read_text("utf-8"))

    assert listed == sorted(path.name for path in directory.glob("[0-9]*.md"))


def test_excluded_files_exist_in_the_template() -> None:
    """A path in `_exclude` that no file has is a leftover, or a slip of the pen."""
    template = REPOSITORY / "template"
    named = {
        line.lstrip("!/").removesuffix("/**")
        for entry in CONFIG["_exclude"][1:]
        for line in entry.splitlines()
        if line.startswith(("/", "!/"))
    }

    missing = [
        path
        for path in sorted(named)
        if not (template / path).exists() and not (template / f"{path}.jinja").exists()
    ]
    assert missing == []


def test_hooks_run_locked_tools_only() -> None:
    """Nothing is fetched from a forge, and versions stand in one place, uv.lock."""
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text("utf-8"))

    assert [repository["repo"] for repository in hooks["repos"]] == ["local"]
    for hook in hooks["repos"][0]["hooks"]:
        assert re.match(r"uv (run --locked|lock --check)", hook["entry"])


def test_lock_file_names_the_public_index_only() -> None:
    lock = (REPOSITORY / "uv.lock").read_text(encoding="utf-8")

    assert set(re.findall(r"https://[^/\"]+", lock)) == {
        "https://pypi.org",
        "https://files.pythonhosted.org",
    }


def test_features_are_what_presets_answer() -> None:
    assert {len(answers) for answers in PRESET_ANSWERS.values()} == {len(FEATURES)}


def test_contributing_names_every_command_and_directory() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, check=True, capture_output=True, encoding="utf-8"
    ).stdout
    directories = {line.partition("/")[0] for line in listed.splitlines() if "/" in line}

    targets = re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)
    assert [name for name in targets if f"make {name}" not in text and name != "help"] == []
    assert [name for name in sorted(directories) if f"| `{name}/" not in text] == []
