"""Free text comes out of every file as it went in, and adds nothing else.

A project with plain placeholders is the measure: what parses out of each of its files, with the
placeholders replaced, must parse out of the file of a project made with the text itself.
"""

import ast
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests import hygiene
from tests.conftest import Render
from tests.projects import Project
from tests.questions import PRESETS
from tests.texts import HOSTILE

PLACEHOLDERS = {
    "project_name": "PLAINNAME",
    "project_description": "PLAINDESCRIPTION",
    "author_name": "PLAINAUTHOR",
    "author_email": "PLAINEMAIL",
}
# Not computed from the name, so that it is the same for both.
FIXED = {"project_slug": "plain", "license": "mit"}


def parse_yaml(text: str) -> object:
    return list(yaml.safe_load_all(text))


def parse_python(text: str) -> object:
    """Node types, names and literals, in order."""
    return [
        [type(node).__name__, *(value for _, value in ast.iter_fields(node) if is_scalar(value))]
        for node in ast.walk(ast.parse(text))
    ]


def is_scalar(value: object) -> bool:
    return not isinstance(value, ast.AST | list)


def parse_markdown(text: str) -> object:
    """Blocks and what is shown in them, whichever way the source escapes it."""
    return [
        [token.type, token.tag, shown(token.children) if token.children else token.content]
        for token in MarkdownIt("gfm-like").parse(text)
    ]


def shown(tokens: list[Token]) -> list[Any]:
    """Runs of text joined, everything else with its type and target."""
    parts: list[Any] = [""]
    for token in tokens:
        if token.type in {"text", "text_special"}:
            parts[-1] += token.content
        else:
            parts += [[token.type, token.content, str(token.attrs)], ""]
    return parts


def parse_dockerfile(text: str) -> object:
    """Lines, with quoted values unquoted."""
    return [re.sub(r"\\(.)", r"\1", line) for line in text.splitlines()]


PARSERS: dict[str, Callable[[str], object]] = {
    ".json": json.loads,
    ".md": parse_markdown,
    ".py": parse_python,
    ".toml": tomllib.loads,
    ".yaml": parse_yaml,
    ".yml": parse_yaml,
    "Dockerfile": parse_dockerfile,
    "LICENSE": str.splitlines,
}


def replace(value: Any, texts: dict[str, str]) -> Any:  # noqa: ANN401 - whatever was parsed
    """The value with placeholders replaced wherever a string stands."""
    match value:
        case str():
            for question, placeholder in PLACEHOLDERS.items():
                value = value.replace(placeholder, texts[question])
            return value
        case dict():
            return {replace(key, texts): replace(item, texts) for key, item in value.items()}
        case list():
            return [replace(item, texts) for item in value]
    return value


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("preset", ["minimal", "kubernetes"])
def test_text_comes_out_as_it_went_in(render: Render, preset: str, text: str) -> None:
    texts = dict.fromkeys(PLACEHOLDERS, text)
    plain = render(preset=preset, **FIXED, **PLACEHOLDERS)

    project = render(preset=preset, **FIXED, **texts)

    assert project.files == plain.files
    for file in plain.files:
        if project.read(file) == plain.read(file):
            continue
        parse = PARSERS[PurePosixPath(file).suffix or PurePosixPath(file).name]
        assert parse(project.read(file)) == replace(parse(plain.read(file)), texts), file
    assert_formatted(project)


@pytest.mark.parametrize("preset", PRESETS)
def test_empty_text_leaves_nothing_behind(render: Render, preset: str) -> None:
    project = render(preset=preset, project_description="", author_name="", author_email="")

    faults = hygiene.faults(project)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("length", range(80, 101))
def test_formatter_leaves_a_name_of_any_length_alone(render: Render, length: int) -> None:
    assert_formatted(render(project_name="a" * length))


def test_formatter_leaves_the_longest_texts_alone(render: Render) -> None:
    assert_formatted(render(project_name="ab " * 33 + "c", project_description="ab " * 99 + "abc"))


def assert_formatted(project: Project) -> None:
    faults = list(hygiene.ruff_is_content(project))
    assert not faults, "\n".join(faults)


def test_text_reaches_what_it_is_asked_for(render: Render) -> None:
    project = render(**FIXED, **PLACEHOLDERS)
    settings = tomllib.loads(project.read("pyproject.toml"))["project"]

    assert settings["name"] == "plain"
    assert settings["description"] == "PLAINDESCRIPTION"
    assert settings["authors"] == [{"name": "PLAINAUTHOR", "email": "PLAINEMAIL"}]
    assert project.read("README.md").startswith("# PLAINNAME\n\nPLAINDESCRIPTION\n")
    assert "PLAINAUTHOR" in project.read("LICENSE")
    assert any("PLAINNAME" in project.read(file) for file in project.files if file.endswith(".py"))
