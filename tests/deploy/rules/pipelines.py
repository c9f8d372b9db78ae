"""The pipelines of GitHub and GitLab: stages, secrets, permissions, pinned versions."""

import re
import subprocess
from collections.abc import Iterator
from itertools import product
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
        ("sh scripts/deploy_to_vercel.sh", "cat scripts/deploy_to_vercel.sh"),
        ("    if: github.event_name == 'push'\n    runs-on", "    runs-on"),
    ),
    faults(
        "production",
        GITHUB,
        ("docker build --pull", "docker pull"),
        ("docker push", "docker images"),
        ("docker compose up", "docker compose pull"),
        ("curl --fail --insecure", "echo"),
        ("  publish:\n    if: github.event_name == 'push'\n", "  publish:\n"),
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
        "check for a newer template": r"bin/copier\" check-update --quiet",
        "update from the template": r"bin/copier\" update --defaults --skip-answered$",
    }
    if delivery.has_postgresql:
        stages["test on PostgreSQL"] = r"^uv run (--locked )?pytest --database=postgresql$"
    if delivery.instructions:
        stages |= {
            "build": r"^docker build --pull ",
            "start": r"^docker compose up --no-build --wait ",
            "ask": r"^(curl --fail|wget) .+ https://\w+:8443/api/v1/ready$",
            "publish": r"^ *docker push ",
        }
    if "vercel.json" in delivery.files:
        stages["deploy"] = r"^sh scripts/deploy_to_vercel.sh "
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
        releases = {"deploy", "migrate"} | ({"publish"} if delivery.workflows else set())
        if stage in releases and not all(job.is_for_releases_only for job in jobs):
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
        ("needs: [image]", "needs: [lint]"),
    ),
    faults(
        "serverless",
        GITHUB,
        ("needs: [lint, test, test-postgresql]\n", "needs: [lint, test]\n"),
        ("needs: [lint, test, test-postgresql, migrate]", "needs: [migrate]"),
        ("needs: [lint, test, test-postgresql, migrate]", "needs: [lint, test, test-postgresql]"),
    ),
)
def release_waits_for_the_checks(delivery: Delivery) -> Iterator[str]:
    """On GitHub, where jobs wait for those they need; GitLab's stages follow each other."""
    if not delivery.workflows:
        return
    checks = {"lint", "test"} | ({"test-postgresql"} if delivery.has_postgresql else set())
    needed = {
        r"^docker build": checks,
        r"^ *docker push": {"image"},
        r"alembic upgrade": checks,
        r"deploy_to_vercel": checks | ({"migrate"} if delivery.has_postgresql else set()),
    }
    for job, (command, first) in product(delivery.jobs, needed.items()):
        script = "\n".join(job.scripts)
        if re.search(command, script, re.MULTILINE) and not first <= job.needs:
            yield f"{job.name} does not wait for {first - job.needs}"


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
        ("  image:\n", "  image:\n    permissions:\n      packages: write\n"),
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
        "publish": {"packages": "write"},
        "propose": {"contents": "write", "pull-requests": "write"},
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
            "  BRANCH: template-update\n",
            "  BRANCH: template-update\n  GH_TOKEN: ${{ secrets.TEMPLATE_UPDATE_TOKEN }}\n",
        ),
        (
            "  propose:\n",
            "  propose:\n    env:\n      GH_TOKEN: ${{ secrets.TEMPLATE_UPDATE_TOKEN }}\n",
        ),
    ),
)
def secrets_are_scoped_to_steps(delivery: Delivery) -> Iterator[str]:
    for file, workflow in delivery.workflows.items():
        for name, job in {file: workflow, **workflow["jobs"]}.items():
            if re.search(r"secrets\.|github\.token", str(job.get("env", {}))):
                yield f"every step of {name}"


@rule(
    faults(
        "production",
        UPDATE,
        ("        id: update\n", "        id: update\n        env: {T: '${{ github.token }}'}\n"),
        ("  render:\n", "  render:\n    permissions:\n      contents: write\n"),
        ("  render:\n", "  render:\n    environment: template\n"),
        ('title="chore', 'uv run something\n          title="chore'),
    ),
    faults(
        "production",
        GITHUB,
        ("      - name: Build\n", "      - name: Build\n        env: {T: '${{ github.token }}'}\n"),
        ("          docker load", "          docker run x\n          docker load"),
        ("          docker load", "          docker compose up\n          docker load"),
    ),
    faults(
        "serverless",
        GITHUB,
        ("DATABASE_URL: ${{ secrets.DATABASE_URL }}", "X: ${{ secrets.VERCEL_TOKEN }}"),
        ("sh scripts/deploy_to_vercel.sh", "npx --yes vercel@64.0.2 deploy --prod #"),
    ),
    faults(
        "serverless-gitlab",
        GITLAB,
        ("    name: database\n    action: access\n", "    name: production\n"),
        ("sh scripts/deploy_to_vercel.sh", "npx --yes vercel@64.0.2 deploy --prod #"),
    ),
    faults(
        "internal",
        GITLAB,
        ("\ntemplate:\n", "\ntemplate:\n  environment: template\n"),
        ("\nlint:\n", "\nlint:\n  environment: production\n"),
    ),
)
def downloaded_code_meets_no_secret(delivery: Delivery) -> Iterator[str]:
    """Dependencies, base images and templates may have been taken over.

    A migration cannot do without the database, and has nothing else. On GitLab, an image is built
    in a container of another service, which has none of the job's variables.
    """
    for job in delivery.jobs:
        if not job.runs_downloaded_code:
            continue
        environment, secrets = job.environment, job.secrets
        if job.name == "migrate":
            needed = "production" if delivery.workflows else "database"
            environment = environment.removeprefix(needed)
            secrets = secrets - {"secrets.DATABASE_URL"}
        if job.name == "build-image":
            secrets = secrets - {"CI_REGISTRY_PASSWORD"}
        for met in (environment, *secrets, *job.permissions):
            if met:
                yield f"{met}, in {job.name}"


@rule(
    faults(
        "internal",
        GITLAB,
        ("  environment:\n    name: template\n    action: access\n", ""),
    ),
    faults(
        "serverless-gitlab",
        GITLAB,
        ("  environment: production\n", ""),
    ),
)
def gitlab_secrets_are_scoped_to_environments(delivery: Delivery) -> Iterator[str]:
    needed = {"template-request": "template", "deploy": "production", "migrate": "database"}
    for job in delivery.jobs:
        if not delivery.workflows and job.environment != needed.get(job.name, ""):
            yield job.name


@rule(
    faults(
        "production",
        UPDATE,
        ("--require-hashes ", ""),
        ("--only-binary :all: ", ""),
        ('          "$RUNNER_TEMP/copier/bin/copier" update', "          uvx copier@9.19.1 update"),
    ),
    faults(
        "production",
        "scripts/copier.txt",
        ("copier==9.19.1", "copier>=9.19.1"),
        ("jinja2==3.1.6 \\\n", "jinja2==3.1.6\n#"),
    ),
    faults(
        "internal",
        GITLAB,
        ("--require-hashes ", ""),
    ),
)
def downloaded_programs_are_pinned_by_hash(delivery: Delivery) -> Iterator[str]:
    """`uvx` and `npx` pin a program, and not what it imports; `uv run --with` ignores hashes."""
    yield from re.findall(r"\b(?:uvx|npx|pipx|uv tool|uv run --with\S*) \S+", delivery.scripts)
    for command in re.findall(r"uv pip install ((?:.*\\\n)*.*)", delivery.scripts):
        if not {"--require-hashes", "--only-binary"} <= set(command.split()):
            yield command
    pins = re.sub(r"^#.*\n", "", delivery.files.get("scripts/copier.txt", ""), flags=re.MULTILINE)
    for line in pins.replace("\\\n", "").splitlines():
        if not re.fullmatch(r"[\w-]+==[\d.]+( ; .+?)?( +--hash=sha256:[0-9a-f]{64})+", line):
            yield line[:60]


@rule(
    faults(
        "internal",
        GITLAB,
        ("      interruptible: false # It publishes.\n", ""),
    ),
    faults(
        "serverless-gitlab",
        GITLAB,
        ("  interruptible: false\n", ""),
    ),
)
def publishing_is_not_interrupted(delivery: Delivery) -> Iterator[str]:
    for name, job in delivery.yaml(".gitlab-ci.yml").items():
        script = str(job.get("script", "")) if isinstance(job, dict) else ""
        if not re.search("docker push|alembic upgrade|deploy_to_vercel", script):
            continue
        rules = [entry for entry in job["rules"] if "merge_request_event" not in entry["if"]]
        if any(
            entry.get("interruptible", job.get("interruptible")) is not False for entry in rules
        ):
            yield name
    for file, workflow in delivery.workflows.items():
        if workflow["concurrency"].get("cancel-in-progress") not in {
            None,
            "${{ github.event_name == 'pull_request' }}",
        }:
            yield file


@rule(
    faults(
        "production",
        GITHUB,
        ('tags=("$GITHUB_SHA")', 'tags=("$GITHUB_RUN_ID")'),
        ('tags+=("$GITHUB_REF_NAME")', "true"),
        ('    tags: ["[0-9]+.[0-9]+.[0-9]+"]\n', ""),
        ('--build-arg COMMIT="$GITHUB_SHA" ', ""),
        ('run: test "$(uv version --short)" = "$GITHUB_REF_NAME"', "run: uv version"),
    ),
    faults(
        "internal",
        GITLAB,
        ('"$CI_COMMIT_SHA" $CI_COMMIT_TAG', '"$CI_COMMIT_SHA"'),
        ('--build-arg COMMIT="$CI_COMMIT_SHA" ', ""),
        ("    - if: $CI_COMMIT_TAG =~", "    - if: $X =~"),
    ),
)
def images_are_tagged_with_commit_and_version(delivery: Delivery) -> Iterator[str]:
    if not delivery.instructions or not delivery.jobs:
        return
    commit = "GITHUB_SHA" if delivery.workflows else "CI_COMMIT_SHA"
    version = "GITHUB_REF_NAME" if delivery.workflows else "CI_COMMIT_TAG"
    triggers = delivery.files[GITHUB if delivery.workflows else GITLAB]
    for expected in (rf'--build-arg COMMIT="\${commit}"', rf'(tags=\(|for tag in )"\${commit}"'):
        if not re.search(expected, delivery.scripts):
            yield f"nothing matches {expected}"
    if not re.search(rf'(tags\+=\("|for tag in ".+" )\${version}', delivery.scripts):
        yield "a version is not published"
    if not re.search(rf'uv version --short\)" = "\$\{{?{version}', delivery.scripts):
        yield "a tag may differ from the project's version"
    if not re.search(r"^    tags: \[|- if: \$CI_COMMIT_TAG =~ ", triggers, re.MULTILINE):
        yield "nothing happens to a tag"


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
