"""The pipelines of GitHub and GitLab: stages, secrets, permissions, pinned versions."""

import re
import subprocess
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.deploy.delivery import Delivery
from tests.deploy.rule import GITHUB, GITLAB, UPDATE, faults, rule


@rule(
    faults(
        "serverless",
        GITHUB,
        ("- run: make lint", "- run: make help"),
        ("- run: make test", "- run: make help"),
        ("- run: uv lock --check", "- run: uv lock"),
        ("run: uv run coverage", "run: uvx coverage"),
        ("--database=postgresql", "--database=sqlite"),
        ("run: uv run --locked --no-dev alembic upgrade head", "run: uv sync"),
        ("deploy --prod", "build --prod"),
        ("    if: github.event_name == 'push'\n    runs-on", "    runs-on"),
    ),
    faults(
        "production",
        GITHUB,
        ("docker build --pull", "docker pull"),
        ("docker push", "docker images"),
        ("  pull_request:\n", '  pull_request:\n  schedule:\n    - cron: "0 0 * * *"\n'),
    ),
    faults(
        "production",
        UPDATE,
        ("", ""),
        ("  schedule:\n", "  push:\n"),
        ("check-update --quiet", "check-update"),
        ("update --defaults", "update --trust"),
    ),
    faults(
        "internal",
        GITLAB,
        ("    - make lint", "    - make help"),
        ("    - make test", "    - make help"),
        ("--database=postgresql", "--database=sqlite"),
        ("docker build --pull", "docker pull"),
        ("check-update --quiet", "check-update"),
        (
            '    - if: $CI_PIPELINE_SOURCE == "schedule"\n  variables',
            "    - when: never\n      if: $X\n  variables",
        ),
    ),
)
def pipelines_have_every_stage(delivery: Delivery) -> Iterator[str]:
    if delivery.answers["ci"] == "none":
        return
    stages = {
        "lint": r"^make lint$",
        "lock": r"^uv lock --check$",
        "test": r"^make test$",
        "coverage": r"^uv run coverage ",
        "check for a newer template": r"\buvx copier@\S+ check-update --quiet",
        "update from the template": r"\buvx copier@\S+ update --defaults --skip-answered$",
    }
    if delivery.has_postgresql:
        stages["test on PostgreSQL"] = r"^uv run (--locked )?pytest --database=postgresql$"
    if delivery.instructions:
        stages |= {"build": r"^docker build --pull ", "publish": r"^ *docker push "}
    if "vercel.json" in delivery.files:
        stages["deploy"] = r"^npx --yes vercel@\S+ deploy --prod "
        if delivery.has_postgresql:
            stages["migrate"] = r"^uv run --locked --no-dev alembic upgrade head$"
    for stage, command in stages.items():
        jobs = [
            job for job in delivery.jobs if re.search(command, "\n".join(job.scripts), re.MULTILINE)
        ]
        if not jobs:
            yield f"nothing does {stage}"
        if any(job.is_scheduled != ("template" in stage) for job in jobs):
            yield f"{stage} does not run when it should"
        if stage in {"deploy", "migrate"} and not all(job.is_for_main_only for job in jobs):
            yield f"{stage} happens to what is not merged"


@rule(
    faults(
        "production",
        GITHUB,
        ("image: postgres:18", "image: redis:8"),
        ("TEST_DATABASE_URL", "DATABASE_URL"),
    ),
    faults(
        "internal",
        GITLAB,
        ("name: postgres:18", "name: redis:8"),
        ("postgres:5432/test", "postgres:5432/postgres"),
    ),
)
def database_tests_have_a_server(delivery: Delivery) -> Iterator[str]:
    for job in delivery.jobs:
        if "--database=postgresql" not in "\n".join(job.scripts):
            continue
        if not any(service.startswith("postgres:") for service in job.services):
            yield f"{job.name} has no server"
        url = urlsplit(job.variables.get("TEST_DATABASE_URL", ""))
        named = (url.scheme, url.password, url.path)
        if named != ("postgresql", "test", "/test"):
            yield f"{job.name} asks for {named}"


@rule(
    faults(
        "production",
        GITHUB,
        ("    needs: [lint, test, test-postgresql]\n", ""),
        ("needs: [lint, test, test-postgresql]", "needs: [lint]"),
    ),
    faults(
        "serverless",
        GITHUB,
        ("needs: [lint, test, test-postgresql]", "needs: [lint, test]"),
    ),
)
def release_waits_for_the_checks(delivery: Delivery) -> Iterator[str]:
    """On GitHub, where jobs wait for those they need; GitLab's stages follow each other."""
    if not delivery.workflows:
        return
    checks = {"lint", "test"} | ({"test-postgresql"} if delivery.has_postgresql else set())
    for job in delivery.jobs:
        if re.search(r"^docker build|^npx .*vercel", "\n".join(job.scripts), re.MULTILINE) and (
            not checks <= job.needs
        ):
            yield f"{job.name} does not wait for {checks - job.needs}"


@rule(
    faults(
        "internal",
        GITLAB,
        ("stages: [check, build", "stages: [build, check"),
        ("  stage: build\n", "  stage: check\n"),
    ),
)
def gitlab_stages_are_in_order(delivery: Delivery) -> Iterator[str]:
    pipeline = delivery.yaml(".gitlab-ci.yml")
    order = pipeline.get("stages", [])
    if pipeline and order != ["check", "build", "deploy", "template"]:
        yield str(order)
    stages = {
        name: job["stage"]
        for name, job in pipeline.items()
        if isinstance(job, dict) and "stage" in job
    }
    expected = {
        "lint": "check",
        "test": "check",
        "test-postgresql": "check",
        "build-image": "build",
        "migrate": "deploy",
        "deploy": "deploy",
        "template": "template",
        "template-request": "template",
    }
    for name, stage in stages.items():
        if not name.startswith(".") and stage != expected[name]:
            yield f"{name} is in {stage}"


@rule(
    faults(
        "production",
        GITHUB,
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7"),
        ("packages: write", "packages: write\n      id-token: write"),
        ("  lint:\n", "  lint:\n    permissions: write-all\n"),
        ("permissions:\n  contents: read\n", ""),
        ("    timeout-minutes: 20\n", ""),
    ),
    faults(
        "internal",
        GITLAB,
        ("  timeout: 15 minutes\n", ""),
    ),
)
def actions_are_pinned_and_permissions_minimal(delivery: Delivery) -> Iterator[str]:
    rights = {
        "image": {"contents": "read", "packages": "write"},
        "update": {"contents": "write", "pull-requests": "write"},
    }
    for file, workflow in delivery.workflows.items():
        for use in re.findall(r"uses: (.+)", delivery.files[file]):
            if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use):
                yield f"{use} is not pinned"
        if workflow.get("permissions") != {"contents": "read"}:
            yield f"{file} may do more than read"
        for name, job in workflow["jobs"].items():
            if job.get("permissions") != rights.get(name):
                yield f"{name} may {job.get('permissions')}"
            if "timeout-minutes" not in job:
                yield f"{name} may run for hours"
    pipeline = delivery.yaml(".gitlab-ci.yml")
    if pipeline and "timeout" not in pipeline["default"]:
        yield "jobs may run for hours"


@rule(
    faults(
        "production",
        UPDATE,
        (
            "      BRANCH: t",
            "      GH_TOKEN: ${{ secrets.TEMPLATE_UPDATE_TOKEN }}\n      BRANCH: t",
        ),
        (
            "steps.request.outputs.open == '0'\n",
            "steps.request.outputs.open == '0'\n        env:\n          GH_TOKEN: x\n",
        ),
    ),
)
def secrets_are_scoped_to_steps(delivery: Delivery) -> Iterator[str]:
    for workflow in delivery.workflows.values():
        for name, job in workflow["jobs"].items():
            if re.search(r"secrets\.|github\.token", str(job.get("env", {}))):
                yield f"every step of {name}"
            for step in job["steps"]:
                if "uvx" in step.get("run", "") and "env" in step:
                    yield f"Copier, in {name}"


@rule(
    faults(
        "internal",
        GITLAB,
        ("  environment:\n    name: template\n    action: access\n", ""),
        ("\ntemplate:\n", "\ntemplate:\n  environment: template\n"),
    ),
    faults(
        "serverless-gitlab",
        GITLAB,
        ("  environment: production\n", ""),
    ),
)
def gitlab_variables_are_scoped_to_environments(delivery: Delivery) -> Iterator[str]:
    needed = {"template-request": "template", "deploy": "production", "migrate": "production"}
    for name, job in delivery.yaml(".gitlab-ci.yml").items():
        if name in needed:
            environment = job.get("environment")
            if isinstance(environment, dict):
                environment = environment["name"]
            if environment != needed[name]:
                yield name
        if "environment" in job and "uvx" in "\n".join(job["script"]):
            yield f"Copier, in {name}"


@rule(
    faults(
        "serverless",
        GITHUB,
        ("vercel@64.0.2", "vercel@latest"),
    ),
    faults(
        "internal",
        GITLAB,
        ("copier@9.19.1", "copier"),
    ),
)
def downloaded_programs_are_pinned(delivery: Delivery) -> Iterator[str]:
    for program in re.findall(r"\b(?:uvx|npx --yes) (\S+)", delivery.scripts):
        if not re.fullmatch(r"[\w-]+@\d+\.\d+\.\d+", program):
            yield program


@rule(
    faults(
        "production",
        GITHUB,
        ("run: make lint", "run: echo ${{ github.head_ref }}"),
        ("run: make lint", "run: if make lint"),
    ),
    faults(
        "internal",
        GITLAB,
        ("- make lint", "- (make lint"),
    ),
)
def scripts_contain_no_untrusted_text(delivery: Delivery) -> Iterator[str]:
    for script in (script for job in delivery.jobs for script in job.scripts):
        if "${{" in script:
            yield f"{script} has an expression"
        if subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode:
            yield f"{script} does not parse"


@rule(
    faults(
        "production",
        "Makefile",
        ("\nlint: ", "\ncheck: "),
    ),
)
def make_targets_exist(delivery: Delivery) -> Iterator[str]:
    targets = re.findall(r"^([a-z-]+):", delivery.files["Makefile"], re.MULTILINE)
    yield from set(re.findall(r"^make (\S+)", delivery.scripts, re.MULTILINE)) - set(targets)
