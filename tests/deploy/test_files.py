"""What the answers about delivery add to a project, and what they leave alone."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import Render
from tests.deploy.files import KUBECTL
from tests.questions import choices

pytestmark = [pytest.mark.deploy, pytest.mark.xdist_group("deploy-files")]


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


@pytest.mark.parametrize(
    "answers", [{}, {"database": "none", "auth": "api_key"}], ids=["users", "api-keys"]
)
def test_external_secret_can_be_added_to_an_overlay(
    render: Render, tmp_path: Path, answers: dict[str, str]
) -> None:
    source = render(preset="kubernetes", **answers).path / "deploy" / "kubernetes"
    subprocess.run(["cp", "-r", str(source), str(tmp_path / "deploy")], check=True)
    overlay = tmp_path / "deploy" / "overlays" / "dev" / "kustomization.yaml"
    with overlay.open("a") as stream:
        stream.write("components: [../../components/external-secret]\n")

    built = subprocess.run(
        [KUBECTL, "kustomize", str(overlay.parent)], capture_output=True, check=True, text=True
    ).stdout

    kinds = [entry["kind"] for entry in yaml.safe_load_all(built)]
    assert kinds.count("ExternalSecret") == 1
