"""What deployment and pipeline files say agrees, with each other and with the application."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import Render
from tests.deploy.delivery import Delivery
from tests.deploy.faults import FAULTS, Fault
from tests.deploy.files import KUBECTL
from tests.deploy.rules import RULES, Rule
from tests.deploy.running import install
from tests.questions import choices

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
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_holds(delivery: Deliveries, name: str, rule: Rule) -> None:
    assert list(rule(delivery(name))) == []


@pytest.mark.parametrize(
    "fault", FAULTS, ids=lambda fault: f"{fault.rule}-{fault.project}-{fault.new.strip()[:40]}"
)
def test_planted_fault_is_found(delivery: Deliveries, fault: Fault) -> None:
    (rule,) = (rule for rule in RULES if rule.__name__ == fault.rule)
    planted = delivery(fault.project).changed(fault.file, fault.old, fault.new)

    assert list(rule(planted))


def test_every_rule_is_seen_to_find_something() -> None:
    assert {fault.rule for fault in FAULTS} == {rule.__name__ for rule in RULES}


@pytest.mark.parametrize("question", ["deploy", "ci", "license"])
def test_delivery_changes_no_python(render: Render, question: str) -> None:
    answers = {"preset": "production"}
    projects = [render(**answers, **{question: choice}) for choice in choices(question)]

    sources = [
        {file: project.read(file) for file in project.files if file.endswith(".py")}
        for project in projects
    ]

    assert all(source == sources[0] for source in sources)


@pytest.mark.parametrize("preset", ["minimal", "standard", "kubernetes"])
def test_none_leaves_nothing_behind(render: Render, preset: str) -> None:
    files = render(preset=preset, deploy="none", ci="none").files

    left = [
        file
        for file in files
        if re.search(r"docker|compose|deploy|vercel|\.git(hub|lab)|renovate", file, re.IGNORECASE)
    ]
    assert left == []


@pytest.mark.parametrize("name", ["kubernetes", "in-memory"])
def test_external_secret_can_be_added_to_an_overlay(
    render: Render, tmp_path: Path, name: str
) -> None:
    source = render(**PROJECTS[name]).path / "deploy" / "kubernetes"
    subprocess.run(["cp", "-r", str(source), str(tmp_path / "deploy")], check=True)
    overlay = tmp_path / "deploy" / "overlays" / "dev" / "kustomization.yaml"
    with overlay.open("a") as stream:
        stream.write("components: [../../components/external-secret]\n")

    built = subprocess.run(
        [KUBECTL, "kustomize", str(overlay.parent)], capture_output=True, check=True, text=True
    ).stdout

    kinds = [entry["kind"] for entry in yaml.safe_load_all(built)]
    assert kinds.count("ExternalSecret") == 1
