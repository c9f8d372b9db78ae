"""What a project brings to be deployed and checked, read as the tools that use it do."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tests.deploy.files import OVERLAYS, kustomize
from tests.deploy.running import Application
from tests.projects import Project
from tests.questions import Answers

Parsed = dict[str, Any]

_NAMES = {
    ".dockerignore",
    ".gitlab-ci.yml",
    "Dockerfile",
    "Makefile",
    "compose.yaml",
    "docs/deployment.md",
    "pyproject.toml",
    "renovate.json",
    "scripts/copier.txt",
    "scripts/deploy_to_vercel.sh",
    "vercel.json",
}


@dataclass(frozen=True)
class Job:
    """A job of a pipeline, whichever forge it runs on."""

    name: str
    scripts: list[str]
    variables: dict[str, str]
    services: list[str]
    needs: set[str]
    environment: str
    """Whose secrets it may see; empty for none."""
    secrets: set[str]
    """Those that its steps are given, by name; on GitLab, any of its environment are."""
    permissions: set[str]
    """What it may write, on GitHub."""
    is_scheduled: bool
    is_for_releases_only: bool
    """Runs for what is merged or tagged, and for nothing else."""

    @property
    def runs_downloaded_code(self) -> bool:
        """Dependencies, what an image is built from, or what a template renders."""
        commands = (
            r"\b(make (lint|test)|uv run|uvx|npx|npm|docker (build|run|compose)|bin/copier)\b"
        )
        return bool(re.search(commands, "\n".join(self.scripts)))


@dataclass(frozen=True)
class Delivery:
    answers: Answers
    files: Mapping[str, str]
    """Those that deploy, check or document either, as text by path."""
    tree: frozenset[str]
    """The paths of all the project's files."""
    application: Application

    @classmethod
    def of(cls, project: Project, application: Application) -> "Delivery":
        files = {
            file: project.read(file)
            for file in project.files
            if file in _NAMES or file.startswith((".github/", "deploy/"))
        }
        return cls(project.answers, files, frozenset(project.files), application)

    def changed(self, file: str, old: str, new: str) -> "Delivery":
        """The same with a text replaced throughout a file; without both texts, without the file."""
        text = self.files[file]
        assert old in text, f"{file} has no {old!r}"
        files = {**self.files, file: text.replace(old, new) if old else new}
        return replace(self, files={name: text for name, text in files.items() if text})

    # ── Answers ──────────────────────────────────────────────────────────────────────────────────

    @property
    def is_modular(self) -> bool:
        return self.answers["layout"] == "modular"

    @property
    def has_database(self) -> bool:
        return self.answers["database"] != "none"

    @property
    def has_postgresql(self) -> bool:
        return self.answers["database"] == "postgresql"

    @property
    def has_users(self) -> bool:
        return self.answers["auth"] in {"jwt", "oauth2"}

    @property
    def has_oidc(self) -> bool:
        return self.answers["auth"] == "oauth2"

    @property
    def counts_requests(self) -> bool:
        return self.answers["auth"] != "none"

    # ── The image ────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def instructions(self) -> list[tuple[str, str]]:
        """The Dockerfile's, continued lines joined, comments left out."""
        text = re.sub(r"^#.*\n", "", self.files.get("Dockerfile", ""), flags=re.MULTILINE)
        lines = re.sub(r"\\\n", "", text).splitlines()
        return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]

    def last(self, instruction: str) -> str:
        return next(value for name, value in reversed(self.instructions) if name == instruction)

    @cached_property
    def image_variables(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for pair in self.last("ENV").split())

    @property
    def port(self) -> str:
        """The port that the image listens on by default."""
        return self.image_variables.get("PORT", "")

    # ── Compose and nginx ────────────────────────────────────────────────────────────────────────

    @cached_property
    def services(self) -> dict[str, Parsed]:
        services: dict[str, Parsed] = self.yaml("compose.yaml").get("services", {})
        return services

    @property
    def nginx(self) -> str:
        return self.files.get("deploy/nginx/nginx.conf", "")

    # ── Kubernetes ───────────────────────────────────────────────────────────────────────────────

    @cached_property
    def overlays(self) -> dict[str, "Manifests"]:
        if not any(file.startswith("deploy/kubernetes/") for file in self.files):
            return {}
        with TemporaryDirectory() as directory:
            for file, text in self.files.items():
                path = Path(directory, file)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return {
                overlay: Manifests(list(yaml.safe_load_all(kustomize(Path(directory), overlay))))
                for overlay in OVERLAYS
            }

    # ── Pipelines ────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def workflows(self) -> dict[str, dict[Any, Any]]:
        return {file: self.yaml(file) for file in self.files if ".github/workflows/" in file}

    @cached_property
    def jobs(self) -> list[Job]:
        return [*self._jobs_of_github(), *self._jobs_of_gitlab()]

    @property
    def scripts(self) -> str:
        """The scripts of all jobs, one below the other."""
        return "\n".join(script for job in self.jobs for script in job.scripts)

    def _jobs_of_github(self) -> Iterator[Job]:
        for workflow in self.workflows.values():
            triggers = workflow[True]  # `on`, which YAML 1.1 takes for a boolean
            for name, job in workflow["jobs"].items():
                steps = job["steps"]
                variables = [job.get("env", {}), *(step.get("env", {}) for step in steps)]
                yield Job(
                    name,
                    [step["run"] for step in steps if "run" in step],
                    {key: str(value) for env in variables for key, value in env.items()},
                    [service["image"] for service in job.get("services", {}).values()],
                    set(job.get("needs", [])),
                    job.get("environment", ""),
                    set(re.findall(r"secrets\.\w+|github\.token", str(variables))),
                    {
                        name
                        for name, right in job.get("permissions", {}).items()
                        if right == "write"
                    },
                    is_scheduled="schedule" in triggers,
                    is_for_releases_only=job.get("if") == "github.event_name == 'push'",
                )

    def _jobs_of_gitlab(self) -> Iterator[Job]:
        for name, job in self.yaml(".gitlab-ci.yml").items():
            if not isinstance(job, dict) or "script" not in job:
                continue
            conditions = [rule["if"] for rule in job["rules"]]
            environment = job.get("environment", "")
            yield Job(
                name,
                [*job.get("before_script", []), *job["script"]],
                {key: str(value) for key, value in job.get("variables", {}).items()},
                [
                    entry if isinstance(entry, str) else entry["name"]
                    for entry in job.get("services", [])
                ],
                set(job.get("needs", [])),
                environment["name"] if isinstance(environment, dict) else environment,
                set(re.findall(r"\$(\w+_(?:TOKEN|PASSWORD))", "\n".join(job["script"]))),
                set(),
                is_scheduled='$CI_PIPELINE_SOURCE == "schedule"' in conditions,
                is_for_releases_only=all(
                    condition.startswith("$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH && ")
                    for condition in conditions
                ),
            )

    # ── Texts ────────────────────────────────────────────────────────────────────────────────────

    def yaml(self, file: str) -> Parsed:
        """What the file holds; nothing where there is none."""
        return yaml.safe_load(self.files.get(file, "")) or {}

    def json(self, file: str) -> Parsed:
        parsed: Parsed = json.loads(self.files.get(file, "{}"))
        return parsed

    @property
    def document(self) -> str:
        return self.files.get("docs/deployment.md", "")

    def texts(self) -> Iterator[str]:
        """Of what tools read: all but documentation and the project's own metadata."""
        for file, text in self.files.items():
            if not file.endswith((".md", ".toml")):
                yield text


@dataclass(frozen=True)
class Manifests:
    """What kustomize makes of an overlay."""

    objects: list[Parsed]

    def one(self, kind: str) -> Parsed:
        (found,) = (entry for entry in self.objects if entry["kind"] == kind)
        return found

    def spec(self, kind: str) -> Parsed:
        spec: Parsed = self.one(kind)["spec"]
        return spec

    @property
    def settings(self) -> dict[str, str]:
        data: dict[str, str] = self.one("ConfigMap")["data"]
        return data

    @property
    def server(self) -> Parsed:
        """The pod of the Deployment."""
        pod: Parsed = self.spec("Deployment")["template"]["spec"]
        return pod

    @property
    def container(self) -> Parsed:
        (found,) = self.server["containers"]
        return dict(found)

    @property
    def probes(self) -> dict[str, Parsed]:
        names = ("startup", "liveness", "readiness")
        return {name: self.container[f"{name}Probe"]["httpGet"] for name in names}

    @property
    def jobs(self) -> list[Parsed]:
        """The pod templates of what runs once, or at times."""
        return [
            *(entry["spec"]["template"] for entry in self._of("Job")),
            *(entry["spec"]["jobTemplate"]["spec"]["template"] for entry in self._of("CronJob")),
        ]

    @property
    def pods(self) -> list[Parsed]:
        return [self.spec("Deployment")["template"], *self.jobs]

    @property
    def containers(self) -> Iterable[Parsed]:
        return [entry for pod in self.pods for entry in pod["spec"]["containers"]]

    def _of(self, kind: str) -> list[Parsed]:
        return [entry for entry in self.objects if entry["kind"] == kind]
