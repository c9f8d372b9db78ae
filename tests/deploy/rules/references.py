"""Names that files share: variables, options, commands, images and versions."""

import re
from collections.abc import Iterator

from tests.deploy.delivery import Delivery
from tests.deploy.images import UV
from tests.deploy.rule import (
    BASE,
    COMPOSE,
    DOCKERFILE,
    DOCUMENT,
    GITHUB,
    GITLAB,
    OVERLAYS,
    UPDATE,
    faults,
    rule,
)

# Options of uvicorn that it reads under these names, and the one that `serve` reads for it.
SERVER_VARIABLES = {"FORWARDED_ALLOW_IPS", "PORT", "WEB_CONCURRENCY"}
# Read by Compose, by pipelines, and by the programs that they start.
TOOL_VARIABLES = {
    "CI_JOB_TOKEN",
    "COMMIT",
    "COMPOSE_ENV_FILES",
    "HTTPS_PORT",
    "HTTP_PORT",
    "POSTGRES_DB",
    "POSTGRES_PASSWORD",
    "POSTGRES_USER",
    "TEMPLATE_UPDATE_TOKEN",
    "TEST_DATABASE_URL",
    "VERCEL_ORG_ID",
    "VERCEL_PROJECT_ID",
    "VERCEL_TOKEN",
}


def _variables_by_place(delivery: Delivery) -> Iterator[tuple[str, set[str]]]:
    if delivery.instructions:
        yield "Dockerfile", set(delivery.image_variables)
    for name, service in delivery.services.items():
        yield f"Compose's {name}", set(service.get("environment", {}))
    yield "compose.yaml", set(re.findall(r"\$\{(\w+)", delivery.files.get("compose.yaml", "")))
    for name, manifests in delivery.overlays.items():
        yield name, set(manifests.settings)
    yield (
        "docs/deployment.md",
        {
            *re.findall(r"`([A-Z][A-Z_]{3,})(?:=[^`]*)?`", delivery.document),
            *re.findall(r"\b([A-Z][A-Z_]{3,})=", delivery.document),
        },
    )
    for job in delivery.jobs:
        used = set(re.findall(r"\$\{?(\w+)", "\n".join(job.scripts)))
        yield (
            f"the job {job.name}",
            {
                variable
                for variable in set(job.variables) - used
                if not variable.startswith(("DOCKER_", "GH_", "GIT_", "UV_"))
            },
        )


@rule(
    faults(
        "standard",
        DOCKERFILE,
        ("    ENVIRONMENT=", "    ENVIROMENT=x \\\n    ENVIRONMENT="),
    ),
    faults(
        "production",
        COMPOSE,
        ("  ALLOWED_HOSTS:", "  ALLOWED_HOST:"),
        ("      POSTGRES_DB:", "      POSTGRES_DATABASE:"),
        ("${HTTPS_PORT", "${TLS_PORT"),
    ),
    faults(
        "kubernetes",
        f"{BASE}/settings.env",
        ("DATABASE_POOL_SIZE", "DB_POOL_SIZE"),
    ),
    faults(
        "serverless",
        DOCUMENT,
        ("DATABASE_POOL_RECYCLE=300", "DATABASE_RECYCLE=300"),
        ("`MAX_BODY_BYTES` stays", "`MAX_BODY` stays"),
    ),
    faults(
        "serverless",
        GITHUB,
        ("VERCEL_ORG_ID:", "VERCEL_ORGANISATION:"),
        ("ENVIRONMENT: test", "ENVIROMENT: test"),
    ),
    faults(
        "internal",
        GITLAB,
        ("TEST_DATABASE_URL:", "TEST_DB_URL:"),
    ),
)
def every_variable_is_read(delivery: Delivery) -> Iterator[str]:
    known = {*delivery.application.settings, *SERVER_VARIABLES, *TOOL_VARIABLES}
    for place, variables in _variables_by_place(delivery):
        for variable in variables - known:
            if not variable.startswith(("PYTHON", "UVICORN_")) and variable != "PATH":
                yield f"{place}: {variable}"


@rule(
    faults(
        "standard",
        DOCKERFILE,
        ("UVICORN_TIMEOUT_KEEP_ALIVE", "UVICORN_KEEP_ALIVE"),
    ),
    faults(
        "standard",
        DOCUMENT,
        ("UVICORN_TIMEOUT_KEEP_ALIVE", "UVICORN_KEEP_ALIVE"),
    ),
)
def uvicorn_options_exist(delivery: Delivery) -> Iterator[str]:
    for text in delivery.files.values():
        for variable in re.findall(r"\bUVICORN_([A-Z_]+)", text):
            if variable.lower() not in delivery.application.server_options:
                yield f"UVICORN_{variable}"


@rule(
    faults(
        "kubernetes",
        f"{BASE}/purge.yaml",
        ("app, purge]", "app, purgee]"),
    ),
    faults(
        "kubernetes",
        DOCUMENT,
        ("app keys generate", "app keys make"),
    ),
)
def commands_exist(delivery: Delivery) -> Iterator[str]:
    known = delivery.application.commands
    commands = [one for one in known if not any(other.startswith(f"{one} ") for other in known)]
    for text in delivery.files.values():
        for words in re.findall(r"python -m app ([a-z -]*[a-z])", text):
            if not any(f"{words} ".startswith(f"{command} ") for command in commands):
                yield words
    for manifests in delivery.overlays.values():
        for container in manifests.containers:
            program = container.get("command", [])
            if program[:3] == ["python", "-m", "app"] and " ".join(program[3:]) not in commands:
                yield " ".join(program)


def _images(delivery: Delivery) -> Iterator[str]:
    yield from (value.split()[0] for name, value in delivery.instructions if name == "FROM")
    yield from (service["image"] for service in delivery.services.values())
    for manifests in delivery.overlays.values():
        yield from (container["image"] for container in manifests.containers)
    yield from (service for job in delivery.jobs for service in job.services)
    pipeline = delivery.yaml(".gitlab-ci.yml")
    for job in pipeline.values():
        if isinstance(job, dict) and "image" in job:
            yield job["image"]


@rule(
    faults(
        "production",
        COMPOSE,
        ("postgres:18", "postgres"),
        ("nginx:1.30-alpine", "nginx:latest"),
    ),
    faults(
        "production",
        DOCKERFILE,
        ("uv:0.13.9 AS", "uv AS"),
    ),
    faults(
        "internal",
        GITLAB,
        ("docker:29-dind", "docker:dind"),
        ("image: docker:29-cli", "image: docker:cli"),
        ("name: postgres:18", "name: postgres"),
    ),
    faults(
        "kubernetes",
        f"{OVERLAYS}/dev/kustomization.yaml",
        ('    newTag: "0000000000000000000000000000000000000000"\n', ""),
    ),
)
def images_have_versions(delivery: Delivery) -> Iterator[str]:
    for image in _images(delivery):
        if image != f"{delivery.answers['project_slug']}:local" and not re.search(
            r":v?\d|:\$\{PYTHON_VERSION\}-", image
        ):
            yield image
    if any(":latest" in text for text in delivery.texts()):
        yield "latest"


@rule(
    faults(
        "production",
        DOCKERFILE,
        ("uv:0.13.9", "uv:0.13.8"),
    ),
    faults(
        "production",
        UPDATE,
        ('version: "0.13.9"', 'version: "0.13.8"'),
        ("# v7.0.1", "# v7.0.0"),
    ),
    faults(
        "standard",
        "Makefile",
        (" uv==0.13.9\n", " uv\n"),
        (" uv==0.13.9\n", " uv==0.13.8\n"),
    ),
    faults(
        "production",
        COMPOSE,
        ("postgres:18", "postgres:17"),
    ),
    faults(
        "internal",
        GITLAB,
        ("uv:0.13.9", "uv:0.13.8"),
    ),
)
def versions_agree(delivery: Delivery) -> Iterator[str]:
    texts = "\n".join(delivery.texts())
    for pattern, ours in {
        r"astral-sh/uv:(\d+\.\d+\.\d+)": {UV},
        r"setup-uv\S+ # v\S+\s+with:\s+version: \"([\d.]+)\"": {UV},
        r"pip install .*\buv(?:==([\d.]+))?\n": {UV},
        r"\bpostgres:(\d[\w.]*)(?![\w./])": set(),
        r"actions/checkout@(.+)": set(),
        r"astral-sh/setup-uv@(.+)": set(),
    }.items():
        found = {"".join(groups) for groups in re.findall(pattern, texts)} | ours
        if len(found) > 1:
            yield str(found)
