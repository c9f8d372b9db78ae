"""What a rule is: a check of the files that deploy a project, and faults that it must find.

`rule` and its siblings make one of a function, and take the faults first: there is no rule without.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps

from tests.deploy.delivery import Delivery, Manifests

Check = Callable[[Delivery], Iterator[str]]
CheckOfOverlay = Callable[[Delivery, Manifests], Iterator[str]]
Change = tuple[str, str]
"""The text to replace, and its replacement; two empty texts remove the file."""

DOCKERFILE, COMPOSE, NGINX = "Dockerfile", "compose.yaml", "deploy/nginx/nginx.conf"
BASE, OVERLAYS = "deploy/kubernetes/base", "deploy/kubernetes/overlays"
GITHUB, GITLAB = ".github/workflows/ci.yml", ".gitlab-ci.yml"
UPDATE, DOCUMENT = ".github/workflows/template.yml", "docs/deployment.md"


@dataclass(frozen=True)
class Fault:
    """A fault to plant in a file of one of the projects in `tests.deploy.test_rules`."""

    project: str
    file: str
    change: Change

    def planted(self, delivery: Delivery) -> Delivery:
        return delivery.changed(self.file, *self.change)

    def __str__(self) -> str:
        return f"{self.project}-{self.change[1].strip()[:40]}"


@dataclass(frozen=True)
class Rule:
    name: str
    check: Check
    """Yields what breaks the rule."""
    faults: list[Fault]


def faults(project: str, file: str, first: Change, *others: Change) -> list[Fault]:
    return [Fault(project, file, change) for change in (first, *others)]


def rule(first: list[Fault], *others: list[Fault]) -> Callable[[Check], Rule]:
    """Make a rule for every project."""

    def decorate(check: Check) -> Rule:
        subject = check.__module__.rpartition(".")[2]
        planted = [fault for group in (first, *others) for fault in group]
        return Rule(f"{subject}.{check.__name__}", check, planted)

    return decorate


def rule_of_image(first: list[Fault], *others: list[Fault]) -> Callable[[Check], Rule]:
    """Make a rule for projects that are deployed as an image."""

    def decorate(check: Check) -> Rule:
        @wraps(check)
        def applied(delivery: Delivery) -> Iterator[str]:
            if delivery.instructions:
                yield from check(delivery)

        return rule(first, *others)(applied)

    return decorate


def rule_of_overlays(first: list[Fault], *others: list[Fault]) -> Callable[[CheckOfOverlay], Rule]:
    """Make a rule for each of a project's overlays."""

    def decorate(check: CheckOfOverlay) -> Rule:
        @wraps(check)
        def applied(delivery: Delivery) -> Iterator[str]:
            for name, manifests in delivery.overlays.items():
                for found in check(delivery, manifests):
                    yield f"{name}: {found}"

        return rule(first, *others)(applied)

    return decorate
