"""The macros in `extensions/`, by themselves."""

import ast
import json
import subprocess
import sys
import tomllib
from typing import Any

import pytest
import yaml
from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from markdown_it import MarkdownIt

from tests.questions import CONFIG, FACTS, FEATURES, REPOSITORY
from tests.texts import HOSTILE


def macros(file: str, **answers: str) -> Any:  # noqa: ANN401 - macros are whatever the file defines
    options = CONFIG["_envops"] | {"undefined": StrictUndefined}
    environment = SandboxedEnvironment(
        loader=FileSystemLoader(REPOSITORY / "extensions"),
        extensions=["jinja2_ansible_filters.AnsibleCoreFiltersExtension"],
        **options,
    )
    return environment.get_template(file).make_module(answers)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
class TestText:
    def test_quoted_is_a_string_of_toml_yaml_and_json(self, text: str) -> None:
        quoted = macros("text.jinja").quoted(text)

        assert tomllib.loads(f"a = {quoted}") == {"a": text}
        assert yaml.safe_load(f"a: {quoted}") == {"a": text}
        assert json.loads(quoted) == text

    def test_python_is_a_literal_that_the_formatter_leaves_alone(self, text: str) -> None:
        literal = macros("text.jinja").python(text)
        source = f"NAME = {literal}\n"

        assert ast.literal_eval(literal) == text
        formatted = subprocess.run(
            [sys.executable, "-m", "ruff", "format", "--line-length=320", "-"],
            input=source,
            capture_output=True,
            check=True,
            encoding="utf-8",
        )
        assert formatted.stdout == source

    def test_markdown_shows_the_text_and_nothing_else(self, text: str) -> None:
        markdown = macros("text.jinja").markdown(text)

        for before, tag in (("", "p"), ("# ", "h1"), ("See ", "p")):
            block, inline, _ = MarkdownIt("gfm-like").parse(f"{before}{markdown}\n")
            assert block.tag == tag
            assert {token.type for token in inline.children or []} <= {"text", "text_special"}
            shown = "".join(token.content for token in inline.children or [])
            assert shown.removeprefix("See ") == text

    def test_markdown_in_a_table_stays_in_its_cell(self, text: str) -> None:
        table = f"| a | b |\n|---|---|\n| {macros('text.jinja').markdown(text)} | c |\n"

        cells = [token for token in MarkdownIt("gfm-like").parse(table) if token.type == "inline"]

        assert len(cells) == 4
        assert "".join(token.content for token in cells[2].children or []) == text

    def test_dockerfile_is_a_quoted_value_without_variables(self, text: str) -> None:
        value = macros("text.jinja").dockerfile(text)

        assert value[0] == value[-1] == '"'
        assert unescape(value[1:-1], special='\\"$') == text

    def test_is_accepted(self, text: str) -> None:
        assert not macros("text.jinja").refusal(text, 100).strip()


def unescape(escaped: str, special: str) -> str:
    """The text that was escaped; fails on a special character that was not."""
    characters = iter(escaped)
    text = ""
    for character in characters:
        if character == "\\":
            character = next(characters)  # noqa: PLW2901 - the escaped one takes its place
            assert character in special
        else:
            assert character not in special
        text += character
    return text


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("My API", "My API"),
        ("my-api 2.0 (beta), by us!", "my-api 2.0 (beta), by us!"),
        ("Orders: the API", "Orders: the API"),
        ("R&D", r"R\&D"),
    ],
)
def test_markdown_of_everyday_names_stays_readable(text: str, markdown: str) -> None:
    assert macros("text.jinja").markdown(text) == markdown


def test_python_hides_no_direction() -> None:
    assert macros("text.jinja").python("a\u200fb") == r'"a\u200fb"'


SLUGS = {
    "My API": "my-api",
    "my-api": "my-api",
    "My  API -- v2.0": "my-api-v2-0",
    "Café": "cafe",
    "cafe\u0301": "cafe",
    "Łódź Straße": "lodz-strasse",
    "Ærø & Œuvre": "aero-oeuvre",
    "Þór Guð": "thor-gud",
    "ﬁne ĳ": "fine-ij",
    "İstanbul Il\N{LATIN SMALL LETTER DOTLESS I}k": "istanbul-ilik",
    "Bob's API": "bobs-api",
    "Bob\N{RIGHT SINGLE QUOTATION MARK}s API": "bobs-api",
    "a🚀b": "a-b",
    "日本語 API": "api",
    "日本語": "app",
    "!?": "app",
    "": "app",
    "app": "app",
    "3D Printing": "app-3d-printing",
    "٣": "app",
    r"\N{LATIN SMALL LETTER A WITH GRAVE}": "n-latin-small-letter-a-with-grave",
    r"a\u00e9": "a-u00e9",
    "a" * 60: "a" * 50,
    "a" * 49 + " b": "a" * 49,
    "FastAPI": "fastapi-app",
    "Pydantic_Settings": "pydantic-settings-app",
    "SQLAlchemy!": "sqlalchemy-app",
    "No": "no-app",
}


@pytest.mark.parametrize("name", SLUGS)
def test_slug(name: str) -> None:
    assert macros("names.jinja").slug(name) == SLUGS[name]


@pytest.mark.parametrize("name", [*SLUGS, *HOSTILE.values()])
def test_computed_slug_is_accepted(name: str) -> None:
    names = macros("names.jinja")

    assert not names.slug_refusal(names.slug(name)).strip()


def test_dependencies_are_normalised_and_sorted() -> None:
    dependencies = macros("names.jinja").dependencies

    assert dependencies == sorted({name.lower().replace("_", "-") for name in dependencies})


ANSWERS = {
    "minimal": ("minimal", "none", "none", "none", "none"),
    "keys": ("modular", "none", "api_key", "none", "gitlab"),
    "standard": ("modular", "sqlite", "jwt", "docker", "github"),
    "kubernetes": ("modular", "postgresql", "oauth2", "kubernetes", "github"),
    "serverless": ("modular", "postgresql", "jwt", "vercel", "none"),
}
TRUE = {
    "minimal": set[str](),
    "keys": {"is_modular", "has_auth", "has_api_keys", "has_gitlab"},
    "standard": {
        *("is_modular", "has_database", "has_auth", "has_users"),
        *("has_docker", "has_github"),
    },
    "kubernetes": {
        *("is_modular", "has_database", "has_postgresql", "has_auth", "has_users", "has_oidc"),
        *("has_docker", "has_kubernetes", "has_github"),
    },
    "serverless": {
        *("is_modular", "has_database", "has_postgresql", "has_auth", "has_users", "has_vercel"),
    },
}


@pytest.mark.parametrize("scenario", ANSWERS)
def test_facts(scenario: str) -> None:
    facts = macros("facts.jinja", **dict(zip(FEATURES, ANSWERS[scenario], strict=True)))

    assert {fact for fact in FACTS if getattr(facts, fact)} == TRUE[scenario]
