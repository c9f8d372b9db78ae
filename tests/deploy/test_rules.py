"""Deployment and pipeline files agree with each other and with the application."""

from collections.abc import Callable
from inspect import isfunction

import pytest

from tests.conftest import Render
from tests.deploy.delivery import Delivery
from tests.deploy.rule import Fault, Rule
from tests.deploy.rules import MODULES, RULES
from tests.deploy.running import install

pytestmark = [pytest.mark.deploy, pytest.mark.xdist_group("deploy-files")]

PROJECTS: dict[str, dict[str, str]] = {
    "standard": {"preset": "standard"},
    "internal": {"preset": "internal", "ci": "gitlab"},
    "production": {"preset": "production"},
    "kubernetes": {"preset": "kubernetes"},
    "serverless": {"preset": "serverless"},
    "serverless-gitlab": {"preset": "serverless", "auth": "none", "ci": "gitlab"},
    "serverless-minimal": {"preset": "minimal", "deploy": "vercel"},
    "in-memory": {
        "preset": "kubernetes",
        "database": "none",
        "auth": "api_key",
        "ci": "gitlab",
    },
    "minimal": {"preset": "minimal", "deploy": "kubernetes", "ci": "github"},
    "minimal-keys": {"preset": "minimal", "auth": "api_key", "deploy": "docker", "ci": "gitlab"},
}

Deliveries = Callable[[str], Delivery]


@pytest.fixture(scope="session")
def delivery(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Deliveries:
    made: dict[str, Delivery] = {}

    def delivery(name: str) -> Delivery:
        if name not in made:
            project = render(**PROJECTS[name])
            installed = install(project, tmp_path_factory.mktemp(name) / "project")
            made[name] = Delivery.of(project, installed.application)
        return made[name]

    return delivery


@pytest.mark.parametrize("name", PROJECTS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rule_is_kept(delivery: Deliveries, name: str, rule: Rule) -> None:
    assert list(rule.check(delivery(name))) == []


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        pytest.param(rule, fault, id=f"{rule.name}-{fault}")
        for rule in RULES
        for fault in rule.faults
    ],
)
def test_planted_fault_is_found(delivery: Deliveries, rule: Rule, fault: Fault) -> None:
    assert list(rule.check(fault.planted(delivery(fault.project))))


def test_every_public_function_of_a_subject_is_a_rule() -> None:
    """Without its decorator a check would never run."""
    undecorated = [
        name
        for module in MODULES
        for name, value in vars(module).items()
        if isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]

    assert undecorated == []
