"""What is asked, what is answered when it is not, and what is refused."""

import re
from pathlib import Path

import pytest
import yaml

from tests.conftest import Render
from tests.projects import Project, generate
from tests.questions import ASKED, CONFIG, FACTS, FEATURES, PRESETS, QUESTIONS, choices, refusal

# The table of the README and of the contract with users: an answer that a preset gives is public.
PRESET_ANSWERS = {
    "minimal": ("minimal", "none", "none", "none", "none"),
    "standard": ("modular", "sqlite", "jwt", "docker", "github"),
    "internal": ("modular", "postgresql", "api_key", "docker", "github"),
    "production": ("modular", "postgresql", "jwt", "docker", "github"),
    "kubernetes": ("modular", "postgresql", "oauth2", "kubernetes", "github"),
    "serverless": ("modular", "postgresql", "jwt", "vercel", "github"),
}

NOT_ONE_LINE = "must be one line without control or invisible characters"
KEEPS_IN_MEMORY = "layout=minimal keeps its items in memory: use layout=modular"
NO_USERS = "layout=minimal has no users: use layout=modular with a database"
USERS_NEED_DATABASE = "users are kept in a database: use database=sqlite or database=postgresql"
DISK = "use database=postgresql or database=none, or deploy=docker"

REFUSED = {
    "name-empty": ({"project_name": ""}, "must not be empty: type a name"),
    "name-of-spaces": ({"project_name": "  "}, "must not start or end with a space"),
    "name-with-space-before": ({"project_name": " a"}, "must not start or end with a space"),
    "name-with-space-after": ({"project_name": "a\u00a0"}, "must not start or end with a space"),
    "name-of-101": ({"project_name": "a" * 101}, "is 101 characters long: use at most 100"),
    "name-of-two-lines": ({"project_name": "a\nb"}, NOT_ONE_LINE),
    "name-with-newline-after": ({"project_name": "a\n"}, NOT_ONE_LINE),
    "name-with-carriage-return": ({"project_name": "a\rb"}, NOT_ONE_LINE),
    "name-with-tab": ({"project_name": "a\tb"}, NOT_ONE_LINE),
    "name-with-nul": ({"project_name": "a\0b"}, NOT_ONE_LINE),
    "name-with-escape": ({"project_name": "\x1b[31m"}, NOT_ONE_LINE),
    "name-with-delete": ({"project_name": "a\x7f"}, NOT_ONE_LINE),
    "name-with-next-line": ({"project_name": "a\x85b"}, NOT_ONE_LINE),
    "name-with-line-separator": ({"project_name": "a\u2028b"}, NOT_ONE_LINE),
    "name-with-paragraph-separator": ({"project_name": "a\u2029b"}, NOT_ONE_LINE),
    "name-with-override": ({"project_name": "a\u202eb"}, NOT_ONE_LINE),
    "name-with-isolate": ({"project_name": "a\u2066b"}, NOT_ONE_LINE),
    "name-with-byte-order-mark": ({"project_name": "\ufeffa"}, NOT_ONE_LINE),
    "name-with-zero-width-space": ({"project_name": "a\u200bb"}, NOT_ONE_LINE),
    "name-with-non-character": ({"project_name": "a\uffff"}, NOT_ONE_LINE),
    "name-with-lone-surrogate": ({"project_name": "a\ud800"}, NOT_ONE_LINE),
    "description-of-301": ({"project_description": "a" * 301}, "use at most 300"),
    "description-of-two-lines": ({"project_description": "a\nb"}, NOT_ONE_LINE),
    "author-of-101": ({"author_name": "a" * 101}, "use at most 100"),
    "author-with-escape": ({"author_name": "\x9b31m"}, NOT_ONE_LINE),
    "email-of-101": ({"author_email": "a" * 101}, "use at most 100"),
    "email-with-space-before": ({"author_email": " a@b.example"}, "must not start or end"),
    "slug-empty": ({"project_slug": ""}, "a letter first and no hyphen last: use app"),
    "slug-in-capitals": ({"project_slug": "My-API"}, "lower-case ASCII letters"),
    "slug-with-underscore": ({"project_slug": "my_api"}, "single hyphens"),
    "slug-with-dot": ({"project_slug": "my.api"}, "single hyphens"),
    "slug-with-two-hyphens": ({"project_slug": "my--api"}, "single hyphens"),
    "slug-with-digit-first": ({"project_slug": "1api"}, "a letter first"),
    "slug-with-hyphen-first": ({"project_slug": "-api"}, "a letter first"),
    "slug-with-hyphen-last": ({"project_slug": "api-"}, "no hyphen last"),
    "slug-with-newline-after": ({"project_slug": "api\n"}, "lower-case ASCII letters"),
    "slug-with-accent": ({"project_slug": "café"}, "lower-case ASCII letters"),
    "slug-with-other-digits": ({"project_slug": "api٣"}, "lower-case ASCII letters"),
    "slug-of-51": ({"project_slug": "a" * 51}, "is 51 characters long: use at most 50"),
    "slug-of-a-dependency": (
        {"project_slug": "pydantic-settings"},
        "is the name of a package that projects depend on: use pydantic-settings-app",
    ),
    "slug-that-yaml-reads-as-true": ({"project_slug": "on"}, "in YAML: use on-app"),
    "minimal-with-sqlite": ({"preset": "minimal", "database": "sqlite"}, KEEPS_IN_MEMORY),
    "minimal-with-postgresql": ({"preset": "minimal", "database": "postgresql"}, KEEPS_IN_MEMORY),
    "minimal-layout-with-database-of-preset": ({"layout": "minimal"}, KEEPS_IN_MEMORY),
    "minimal-with-jwt": ({"preset": "minimal", "auth": "jwt"}, NO_USERS),
    "minimal-with-oauth2": ({"preset": "minimal", "auth": "oauth2"}, NO_USERS),
    "users-of-preset-without-database": ({"database": "none"}, USERS_NEED_DATABASE),
    "jwt-without-database": (
        {"preset": "custom", "database": "none", "auth": "jwt"},
        USERS_NEED_DATABASE,
    ),
    "oauth2-without-database": (
        {"preset": "custom", "database": "none", "auth": "oauth2"},
        USERS_NEED_DATABASE,
    ),
    "sqlite-on-kubernetes": (
        {"deploy": "kubernetes"},
        f"replicas would not share a SQLite file, and a pod's disk does not last: {DISK}",
    ),
    "sqlite-on-vercel": (
        {"deploy": "vercel"},
        f"a function has no disk that lasts for a SQLite file: {DISK}",
    ),
    "unknown-choice": ({"preset": "enterprise"}, "'enterprise' is not in ['minimal', "),
    "old-python": ({"python_version": "3.10"}, "'3.10' is not in ['3.11', "),
    "fact-given": ({"has_database": "false"}, "follows from the other answers"),
}


def features(project: Project) -> tuple[str, ...]:
    return tuple(project.answers[question] for question in FEATURES)


def test_defaults(render: Render) -> None:
    project = render()

    assert project.answers == {
        "project_name": "My API",
        "preset": "standard",
        "project_slug": "my-api",
        "project_description": "",
        "author_name": "",
        "author_email": "",
        "layout": "modular",
        "database": "sqlite",
        "auth": "jwt",
        "deploy": "docker",
        "ci": "github",
        "license": "none",
        "python_version": "3.11",
    }


def test_every_preset_is_in_the_table() -> None:
    assert list(PRESET_ANSWERS) == PRESETS


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_answers(render: Render, preset: str) -> None:
    project = render(preset=preset)

    assert features(project) == PRESET_ANSWERS[preset]
    assert sorted(project.answers) == sorted(ASKED), (
        "an answer that is not recorded changes on update"
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_choice_that_describes_a_preset_starts_with_its_name(preset: str) -> None:
    (label,) = (text for text, value in QUESTIONS["preset"]["choices"].items() if value == preset)

    assert label.startswith(f"{preset}: ")


def test_one_answer_of_a_preset_is_overridden(render: Render) -> None:
    project = render(preset="minimal", deploy="docker")

    assert features(project) == ("minimal", "none", "none", "docker", "none")


@pytest.mark.parametrize(
    ("given", "suggested"),
    [
        ({}, ("modular", "sqlite", "jwt", "docker", "github")),
        ({"layout": "minimal"}, ("minimal", "none", "none", "docker", "github")),
        ({"database": "none"}, ("modular", "none", "none", "docker", "github")),
        ({"database": "postgresql"}, ("modular", "postgresql", "jwt", "docker", "github")),
    ],
    ids=str,
)
def test_custom_suggests_what_the_answers_so_far_allow(
    render: Render, given: dict[str, str], suggested: tuple[str, ...]
) -> None:
    assert features(render(preset="custom", **given)) == suggested


def test_only_custom_asks_more_than_name_and_preset() -> None:
    always = [name for name in ASKED if "ask" not in QUESTIONS[name]]

    assert always == ["project_name", "preset"]
    assert {QUESTIONS[name]["ask"] for name in ASKED if name not in always} == {
        "{{ preset == 'custom' }}"
    }


@pytest.mark.parametrize("question", ASKED)
def test_question_reads_as_one(question: str) -> None:
    assert re.search(r"\?( \(.+\))?\Z", QUESTIONS[question]["help"])


@pytest.mark.parametrize("scenario", REFUSED)
def test_refused_as_data(template: Path, scenario: str) -> None:
    answers, reason = REFUSED[scenario]

    assert reason in (refusal(template, answers) or "accepted")


@pytest.mark.parametrize("scenario", [name for name in REFUSED if name != "fact-given"])
def test_refused_as_default(render: Render, scenario: str) -> None:
    answers, reason = REFUSED[scenario]

    with pytest.raises(ValueError, match=re.escape(reason)):
        render(**answers)


def test_every_rule_between_answers_is_seen_to_refuse() -> None:
    ruled = {
        (question, choice["value"])
        for question in FEATURES
        for choice in QUESTIONS[question]["choices"].values()
        if isinstance(choice, dict) and "validator" in choice
    }
    refused = {item for answers, _ in REFUSED.values() for item in answers.items()}

    assert ruled - refused == set()


@pytest.mark.parametrize(
    "name",
    ["a", "a" * 100, "x 'y' \"z\"", "日本語 API", "👩‍👩‍👧 🏴󠁧󠁢󠁳󠁣󠁴󠁿", "שלום", "cafe\u0301"],
)
def test_accepted_name(render: Render, name: str) -> None:
    assert render(project_name=name).answers["project_name"] == name


def test_unusual_answers_are_recorded_as_they_are_read(render: Render) -> None:
    recorded = render(project_name="Café 🚀").read(".copier-answers.yml")

    assert "project_name: Café 🚀\n" in recorded


def test_facts_are_not_recorded(render: Render) -> None:
    assert not set(FACTS) & set(yaml.safe_load(render().read(".copier-answers.yml")))


@pytest.mark.parametrize("preset", PRESETS)
def test_same_answers_give_the_same_bytes(
    render: Render, template: Path, tmp_path: Path, preset: str
) -> None:
    once = render(preset=preset)
    again = generate(template, tmp_path / "again", {"preset": preset})

    assert again.files == once.files
    assert {file: again.read(file) for file in again.files} == {
        file: once.read(file) for file in once.files
    }


def test_it_does_not_matter_how_an_answer_was_given(
    render: Render, template: Path, tmp_path: Path
) -> None:
    by_default = render()
    as_data = generate(template, tmp_path / "data", {"license": "none", "preset": "standard"})

    assert as_data.read(".copier-answers.yml") == by_default.read(".copier-answers.yml")


def test_generating_runs_no_code_of_the_template() -> None:
    assert not {"_tasks", "_migrations", "_jinja_extensions"} & set(CONFIG)


@pytest.mark.parametrize("question", [name for name in FEATURES if name != "layout"])
def test_choice_may_be_none(question: str) -> None:
    assert choices(question)[0] == "none"
