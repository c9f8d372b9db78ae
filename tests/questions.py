"""What `copier.yml` asks, read from the file itself so that no choice can be forgotten."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from copier import run_copy

REPOSITORY = Path(__file__).parents[1]

CONFIG: dict[str, Any] = yaml.safe_load((REPOSITORY / "copier.yml").read_text(encoding="utf-8"))
QUESTIONS: dict[str, dict[str, Any]] = {
    name: details for name, details in CONFIG.items() if not name.startswith("_")
}
FACTS = [name for name, details in QUESTIONS.items() if details.get("when") is False]
ASKED = [name for name in QUESTIONS if name not in FACTS]

Answers = Mapping[str, str]


def choices(question: str) -> list[str]:
    """The values a question offers, in order; none when it takes free text."""
    offered = QUESTIONS[question].get("choices", [])
    values = offered.values() if isinstance(offered, dict) else offered
    return [value["value"] if isinstance(value, dict) else value for value in values]


def has_rules(question: str) -> bool:
    """Whether some choice depends on the answers before it."""
    offered = QUESTIONS[question].get("choices", [])
    return isinstance(offered, dict) and any(isinstance(value, dict) for value in offered.values())


PRESETS = [preset for preset in choices("preset") if preset != "custom"]
# These change one line or one file each and nothing depends on them: see docs/decisions/0004.
CROSSED = ["license", "python_version"]
FEATURES = [name for name in ASKED if choices(name) and name not in {"preset", *CROSSED}]


def refusal(template: Path, answers: Answers) -> str | None:
    """Why Copier refuses these answers; None when it takes them. Renders nothing."""
    with TemporaryDirectory() as directory:
        try:
            run_copy(
                str(template),
                directory,
                data=dict(answers),
                defaults=True,
                exclude=["*"],
                pretend=True,
                quiet=True,
            )
        except ValueError as error:
            return str(error)
    return None


def combinations(template: Path) -> Iterator[dict[str, str]]:
    """Every combination of features that Copier takes."""
    yield from _extend(template, {"preset": "custom"}, FEATURES)


def _extend(template: Path, answers: dict[str, str], rest: list[str]) -> Iterator[dict[str, str]]:
    if not rest:
        yield answers
        return
    question, *rest = rest
    for choice in choices(question):
        extended = {**answers, question: choice}
        if not has_rules(question) or refusal(template, extended) is None:
            yield from _extend(template, extended, rest)
