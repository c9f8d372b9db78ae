"""What deployment and pipeline files say agrees, with each other and with the application."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Render
from tests.deploy.files import KUBECTL, OVERLAYS, kustomize
from tests.deploy.running import Installed, install
from tests.projects import Project
from tests.questions import choices

pytestmark = [pytest.mark.deploy, pytest.mark.xdist_group("deploy-files")]

Mapping = dict[str, Any]

PROJECTS: dict[str, dict[str, str]] = {
    "standard": {"preset": "standard"},
    "internal": {"preset": "internal", "ci": "gitlab"},
    "production": {"preset": "production"},
    "kubernetes": {"preset": "kubernetes"},
    "serverless": {"preset": "serverless"},
    "in-memory": {
        "preset": "kubernetes",
        "database": "none",
        "auth": "api_key",
        "ci": "gitlab",
    },
    "minimal": {"preset": "minimal", "deploy": "kubernetes", "ci": "github"},
}
WITH_IMAGE = [name for name in PROJECTS if name != "serverless"]
ON_KUBERNETES = ["kubernetes", "in-memory", "minimal"]

# uvicorn's options, which it reads under these names, and what programs of images read.
OF_THE_SERVER = {"WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"}
# PostgreSQL's default, and what it keeps for its superuser.
MAX_CONNECTIONS, RESERVED = 100, 3
# `docker stop` and Compose kill after as many seconds.
STOP_GRACE = 10

every_image = pytest.mark.parametrize("name", WITH_IMAGE)
every_overlay = pytest.mark.parametrize(("name", "overlay"), list(product(ON_KUBERNETES, OVERLAYS)))


@pytest.fixture(scope="session")
def project(render: Render) -> Callable[[str], Project]:
    return lambda name: render(**PROJECTS[name])


@pytest.fixture(scope="session")
def installed(
    project: Callable[[str], Project], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Installed]:
    made: dict[str, Installed] = {}

    def installed(name: str) -> Installed:
        if name not in made:
            made[name] = install(project(name), tmp_path_factory.mktemp(name) / "project")
        return made[name]

    return installed


@pytest.fixture(scope="session")
def manifests(project: Callable[[str], Project]) -> Callable[[str, str], list[Mapping]]:
    built: dict[tuple[str, str], list[Mapping]] = {}

    def manifests(name: str, overlay: str) -> list[Mapping]:
        if (name, overlay) not in built:
            text = kustomize(project(name).path, overlay)
            built[name, overlay] = list(yaml.safe_load_all(text))
        return built[name, overlay]

    return manifests


Projects = Callable[[str], Project]
Manifests = Callable[[str, str], list[Mapping]]
Installation = Callable[[str], Installed]


def load(project: Project, file: str) -> Mapping:
    loaded: Mapping = yaml.safe_load(project.read(file))
    return loaded


def dockerfile(project: Project) -> list[tuple[str, str]]:
    """The instructions, continued lines joined, comments left out."""
    text = re.sub(r"^#.*\n", "", project.read("Dockerfile"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", "", text).splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def last(instruction: str, project: Project) -> str:
    return [value for name, value in dockerfile(project) if name == instruction][-1]


def image_environment(project: Project) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in last("ENV", project).split())


def one(kind: str, objects: list[Mapping]) -> Mapping:
    (found,) = (entry for entry in objects if entry["kind"] == kind)
    return found


def settings_of(objects: list[Mapping]) -> dict[str, str]:
    data: dict[str, str] = one("ConfigMap", objects)["data"]
    return data


def pod_templates(objects: list[Mapping]) -> Iterator[Mapping]:
    for entry in objects:
        if entry["kind"] in {"Deployment", "Job"}:
            yield entry["spec"]["template"]
        elif entry["kind"] == "CronJob":
            yield entry["spec"]["jobTemplate"]["spec"]["template"]


def server(objects: list[Mapping]) -> Mapping:
    pod: Mapping = one("Deployment", objects)["spec"]["template"]["spec"]
    return pod


def container(objects: list[Mapping]) -> Mapping:
    (found,) = server(objects)["containers"]
    return dict(found)


def workflows(project: Project) -> dict[str, Mapping]:
    return {file: load(project, file) for file in project.files if ".github/workflows" in file}


def steps(project: Project) -> Iterator[Mapping]:
    for workflow in workflows(project).values():
        for job in workflow["jobs"].values():
            yield from job["steps"]


def scripts(project: Project) -> Iterator[str]:
    yield from (step["run"] for step in steps(project) if "run" in step)
    if ".gitlab-ci.yml" in project.files:
        for job in load(project, ".gitlab-ci.yml").values():
            if isinstance(job, dict):
                yield from job.get("script", [])


def delivery_files(project: Project) -> Iterator[str]:
    for file in project.files:
        if file.startswith((".github/", "deploy/")) or file in {
            "Dockerfile",
            "compose.yaml",
            ".gitlab-ci.yml",
        }:
            yield project.read(file)


# ── What is left out ─────────────────────────────────────────────────────────────────────────────


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


# ── The image ────────────────────────────────────────────────────────────────────────────────────


@every_image
def test_server_is_the_first_process(project: Projects, name: str) -> None:
    assert last("CMD", project(name)).startswith('["')
    assert "ENTRYPOINT" not in dict(dockerfile(project(name)))


@every_image
def test_image_runs_as_a_numeric_user(project: Projects, name: str) -> None:
    assert re.fullmatch(r"[1-9]\d{4,}:[1-9]\d{4,}", last("USER", project(name)))
    assert dockerfile(project(name))[-1][0] == "CMD"


@every_image
def test_image_holds_no_secret_setting(
    project: Projects, installed: Installation, name: str
) -> None:
    values = " ".join(v for i, v in dockerfile(project(name)) if i in {"ARG", "ENV"})

    assert not [secret for secret in installed(name).secrets if secret in values]


@every_image
def test_only_listed_files_enter_the_image(project: Projects, name: str) -> None:
    lines = [line for line in project(name).read(".dockerignore").splitlines() if line]
    first, *rest = [line for line in lines if not line.startswith("#")]
    listed = {line[1:] for line in rest if line.startswith("!")}

    assert first == "*"
    assert {"app", "pyproject.toml", "uv.lock"} <= listed
    assert ("migrations" in listed) == ("alembic.ini" in project(name).files)
    assert listed - {"uv.lock"} <= {file.split("/")[0] for file in project(name).files}
    assert {"**/.env*", "**/*.pem", "**/*.key"} <= set(rest)


@every_image
def test_health_check_asks_a_route_that_exists(
    project: Projects, installed: Installation, name: str
) -> None:
    asked = re.findall(r"'(/[^']+)'", last("HEALTHCHECK", project(name)))

    assert asked
    assert set(asked) <= installed(name).paths


@every_image
def test_ports_agree(project: Projects, name: str) -> None:
    port = last("EXPOSE", project(name))
    nginx = project(name).read("deploy/nginx/nginx.conf")
    listening = set(re.findall(r"listen (\d+)", nginx))

    assert image_environment(project(name))["UVICORN_PORT"] == port
    assert f"'127.0.0.1', {port}" in last("HEALTHCHECK", project(name))
    assert f"server app:{port};" in nginx
    published = load(project(name), "compose.yaml")["services"]["nginx"]["ports"]
    assert {entry.rpartition(":")[2] for entry in published} == listening


@every_image
def test_requests_in_progress_end_before_docker_kills(project: Projects, name: str) -> None:
    graceful = int(image_environment(project(name))["UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN"])

    assert graceful < STOP_GRACE


# ── Compose ──────────────────────────────────────────────────────────────────────────────────────


@every_image
def test_nothing_but_nginx_and_the_mailbox_is_published(project: Projects, name: str) -> None:
    services = load(project(name), "compose.yaml")["services"]
    published = {service: s["ports"] for service, s in services.items() if "ports" in s}

    mailbox = published.pop("mailpit", [])
    assert set(published) == {"nginx"}
    assert all(port.startswith("127.0.0.1:") for port in mailbox)


@every_image
def test_secrets_of_compose_come_from_the_environment(
    project: Projects, installed: Installation, name: str
) -> None:
    services = load(project(name), "compose.yaml")["services"]
    secrets = installed(name).secrets | {"POSTGRES_PASSWORD"}

    for service in services.values():
        for variable, value in service.get("environment", {}).items():
            if variable in secrets and "://" not in str(value):
                assert re.fullmatch(r"\$\{[A-Z_]+:[?-].*\}", value), variable
    password = re.compile(r"postgresql://app:\$\{POSTGRES_PASSWORD:\?[^}]+\}@")
    if "postgres" in services:
        assert password.match(services["app"]["environment"]["DATABASE_URL"])


@every_image
def test_compose_starts_what_is_needed_first(project: Projects, name: str) -> None:
    services = load(project(name), "compose.yaml")["services"]

    for service in services.values():
        for needed, how in service.get("depends_on", {}).items():
            condition = how["condition"]
            if condition == "service_healthy":
                assert needed == "app" or "test" in services[needed]["healthcheck"]
            else:
                assert condition == "service_completed_successfully"
                assert "restart" not in services[needed]
    if "alembic.ini" in project(name).files:
        assert "migrate" in services["app"]["depends_on"]


@pytest.mark.parametrize("name", ["internal", "production", "kubernetes"])
def test_connections_of_compose_fit_the_database(
    project: Projects, installed: Installation, name: str
) -> None:
    settings = installed(name).settings
    workers = load(project(name), "compose.yaml")["services"]["app"]["environment"]
    count = int(re.sub(r"\$\{\w+:-(\d+)\}", r"\1", str(workers["WEB_CONCURRENCY"])))

    pool = int(settings["DATABASE_POOL_SIZE"] or 0) + int(settings["DATABASE_MAX_OVERFLOW"] or 0)
    assert count * pool + 1 <= MAX_CONNECTIONS - RESERVED


@every_image
def test_nginx_takes_bodies_as_large_as_the_application(
    project: Projects, installed: Installation, name: str
) -> None:
    configured = project(name).read("deploy/nginx/nginx.conf")
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;", configured)
    limit = installed(name).settings.get("MAX_BODY_BYTES") or 1048576

    assert int(megabytes) * 1024 * 1024 == int(limit)


# ── Kubernetes ───────────────────────────────────────────────────────────────────────────────────


@every_overlay
def test_probes_ask_routes_that_exist(
    manifests: Manifests, installed: Installation, name: str, overlay: str
) -> None:
    probes = {
        probe: container(manifests(name, overlay))[f"{probe}Probe"]["httpGet"]["path"]
        for probe in ("startup", "liveness", "readiness")
    }

    assert probes == {
        "startup": "/api/v1/health",
        "liveness": "/api/v1/health",
        "readiness": "/api/v1/ready",
    }
    assert set(probes.values()) <= installed(name).paths


@every_overlay
def test_hosts_of_probes_and_ingress_are_allowed(
    manifests: Manifests, name: str, overlay: str
) -> None:
    objects = manifests(name, overlay)
    ingress = one("Ingress", objects)["spec"]
    (rule,), (tls,) = ingress["rules"], ingress["tls"]
    allowed = settings_of(objects).get("ALLOWED_HOSTS")
    asked = [
        header["value"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        for header in container(objects)[probe]["httpGet"].get("httpHeaders", [])
    ]

    assert tls["hosts"] == [rule["host"]]
    if allowed is None:  # the application does not look at hosts
        assert not asked
    else:
        assert len(asked) == 3
        assert {rule["host"], *asked} == set(allowed.split(","))
        assert set(asked) == {one("Service", objects)["metadata"]["name"]}


@every_overlay
def test_ports_of_manifests_agree(
    project: Projects, manifests: Manifests, name: str, overlay: str
) -> None:
    objects = manifests(name, overlay)
    (port,) = container(objects)["ports"]
    (service,) = one("Service", objects)["spec"]["ports"]
    (path,) = one("Ingress", objects)["spec"]["rules"][0]["http"]["paths"]
    (source,) = one("NetworkPolicy", objects)["spec"]["ingress"]

    assert port["containerPort"] == int(last("EXPOSE", project(name)))
    assert service["targetPort"] == port["name"]
    assert path["backend"]["service"]["port"]["name"] == service["name"]
    assert source["ports"] == [{"port": port["name"]}]


@every_overlay
def test_pods_are_confined(
    project: Projects, manifests: Manifests, name: str, overlay: str
) -> None:
    user = int(last("USER", project(name)).split(":")[0])

    for template in pod_templates(manifests(name, overlay)):
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == user
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for entry in pod["containers"]:
            assert entry["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }
            assert set(entry["resources"]) == {"requests", "limits"}


@every_overlay
def test_selectors_select_the_pods_they_are_for(
    manifests: Manifests, name: str, overlay: str
) -> None:
    objects = manifests(name, overlay)
    deployment = one("Deployment", objects)["spec"]
    labels = deployment["template"]["metadata"]["labels"].items()
    selectors = [
        deployment["selector"]["matchLabels"],
        one("Service", objects)["spec"]["selector"],
        one("PodDisruptionBudget", objects)["spec"]["selector"]["matchLabels"],
        *(
            spread["labelSelector"]["matchLabels"]
            for spread in deployment["template"]["spec"]["topologySpreadConstraints"]
        ),
    ]
    policy = one("NetworkPolicy", objects)["spec"]["podSelector"]["matchLabels"]

    jobs = [
        template
        for template in pod_templates(objects)
        if template["spec"].get("restartPolicy") == "Never"
    ]

    assert all(selector.items() <= labels for selector in selectors)
    for template in pod_templates(objects):
        assert policy.items() <= template["metadata"]["labels"].items()
    for selector, job in product(selectors, jobs):
        assert not selector.items() <= job["metadata"]["labels"].items()


@every_overlay
def test_pods_end_before_they_are_killed(manifests: Manifests, name: str, overlay: str) -> None:
    objects = manifests(name, overlay)
    waiting = container(objects)["lifecycle"]["preStop"]["sleep"]["seconds"]
    graceful = int(settings_of(objects)["UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN"])

    assert waiting + graceful < server(objects)["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_connections_of_all_replicas_fit_the_database(manifests: Manifests, overlay: str) -> None:
    objects = manifests("kubernetes", overlay)
    settings = settings_of(objects)
    surge = one("Deployment", objects)["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    replicas = one("HorizontalPodAutoscaler", objects)["spec"]["maxReplicas"] + surge
    jobs = sum(entry["kind"] in {"Job", "CronJob"} for entry in objects)

    pool = int(settings["DATABASE_POOL_SIZE"]) + int(settings["DATABASE_MAX_OVERFLOW"])
    connections = replicas * int(settings["WEB_CONCURRENCY"]) * pool + jobs
    assert connections <= MAX_CONNECTIONS - RESERVED


def test_production_has_three_replicas_and_survives_a_drain(manifests: Manifests) -> None:
    objects = manifests("kubernetes", "production")

    assert one("HorizontalPodAutoscaler", objects)["spec"]["minReplicas"] == 3
    assert "replicas" not in one("Deployment", objects)["spec"]
    assert one("PodDisruptionBudget", objects)["spec"]["maxUnavailable"] == 1
    assert one("Deployment", objects)["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


@every_overlay
def test_secrets_are_referred_to_and_never_written(
    project: Projects, manifests: Manifests, installed: Installation, name: str, overlay: str
) -> None:
    objects = manifests(name, overlay)
    referred = {
        source["secretRef"]["name"]
        for template in pod_templates(objects)
        for entry in template["spec"]["containers"]
        for source in entry["envFrom"]
        if "secretRef" in source
    }

    assert not [entry for entry in objects if entry["kind"] == "Secret"]
    assert not installed(name).secrets & set(settings_of(objects))
    example = "deploy/kubernetes/components/external-secret/external-secret.yaml"
    if example in project(name).files:
        assert referred == {load(project(name), example)["spec"]["target"]["name"]}
    else:
        assert not referred


@pytest.mark.parametrize("name", ["kubernetes", "in-memory"])
def test_external_secret_can_be_added_to_an_overlay(
    project: Projects, tmp_path: Path, name: str
) -> None:
    source = project(name).path / "deploy" / "kubernetes"
    subprocess.run(["cp", "-r", str(source), str(tmp_path / "deploy")], check=True)
    overlay = tmp_path / "deploy" / "overlays" / "dev" / "kustomization.yaml"
    with overlay.open("a") as stream:
        stream.write("components: [../../components/external-secret]\n")

    built = subprocess.run(
        [KUBECTL, "kustomize", str(overlay.parent)], capture_output=True, check=True, text=True
    ).stdout

    assert one("ExternalSecret", list(yaml.safe_load_all(built)))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_database_is_migrated_before_the_server_changes(
    project: Projects, manifests: Manifests, overlay: str
) -> None:
    objects = manifests("kubernetes", overlay)
    commands = project("kubernetes").read("docs/deployment.md")
    (selector,) = re.findall(r"-l '([^=]+)!=([^']+)'", commands)
    later = [
        entry["kind"]
        for entry in objects
        if entry["metadata"].get("labels", {}).get(selector[0]) == selector[1]
    ]

    assert later == ["Deployment"]
    assert one("Job", objects)["spec"]["template"]["spec"]["containers"][0]["command"] == [
        "alembic",
        "upgrade",
        "head",
    ]


# ── All of it ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", PROJECTS)
def test_every_variable_is_a_setting(
    project: Projects, installed: Installation, request: pytest.FixtureRequest, name: str
) -> None:
    named: set[str] = set()
    if name != "serverless":
        named |= set(image_environment(project(name)))
        services = load(project(name), "compose.yaml")["services"]
        for service in ("app", "migrate"):
            named |= set(services.get(service, {}).get("environment", {}))
    if name in ON_KUBERNETES:
        manifests: Manifests = request.getfixturevalue("manifests")
        for overlay in OVERLAYS:
            named |= set(settings_of(manifests(name, overlay)))
    for variables in re.findall(
        r"^\| (`[A-Z][^|]+) \|", project(name).read("docs/deployment.md"), re.MULTILINE
    ):
        named |= set(re.findall(r"`([A-Z_]+)`", variables))

    of_others = {
        variable
        for variable in named
        if variable.startswith(("PYTHON", "UVICORN_")) or variable in {"PATH", *OF_THE_SERVER}
    }
    assert named - of_others <= set(installed(name).settings)


@pytest.mark.parametrize("name", PROJECTS)
def test_variables_of_the_server_are_its_own(
    project: Projects, installed: Installation, name: str
) -> None:
    options = installed(name).run(
        ["python", "-c", "from uvicorn.main import main; print(*(p.name for p in main.params))"], {}
    )

    for text in delivery_files(project(name)):
        for variable in re.findall(r"\bUVICORN_([A-Z_]+)", text):
            assert variable.lower() in options.split(), variable


@pytest.mark.parametrize("name", PROJECTS)
def test_images_have_versions(project: Projects, name: str) -> None:
    images = [
        image
        for text in delivery_files(project(name))
        for image in re.findall(
            r"^\s*(?:- )?(?:image: |FROM |- name: (?=postgres))(\S+)", text, re.MULTILINE
        )
    ]

    for image in images:
        if image in {"my-api", "my-api:local"}:  # ours: overlays give it a version
            continue
        assert re.search(r":v?\d|:\$\{PYTHON_VERSION\}-", image), image
    for text in delivery_files(project(name)):
        assert ":latest" not in text


@pytest.mark.parametrize("name", PROJECTS)
def test_versions_are_the_same_everywhere(project: Projects, name: str) -> None:
    texts = "\n".join(delivery_files(project(name)))

    for pattern in (
        r"astral-sh/uv:(\d+\.\d+\.\d+)|setup-uv\S+ # v\S+\s+with:\s+version: \"([\d.]+)\"",
        r"image: postgres:(\S+)|name: postgres:(\S+)",
        r"copier@([\d.]+)",
        r"actions/checkout@(.+)",
        r"astral-sh/setup-uv@(.+)",
    ):
        assert len({"".join(found) for found in re.findall(pattern, texts)}) <= 1, pattern


@pytest.mark.parametrize("name", PROJECTS)
def test_actions_are_pinned_and_rights_are_few(project: Projects, name: str) -> None:
    for file, workflow in workflows(project(name)).items():
        uses = re.findall(r"uses: (.+)", project(name).read(file))
        assert uses
        assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use) for use in uses)
        assert workflow["permissions"] == {"contents": "read"}
        assert all("timeout-minutes" in job for job in workflow["jobs"].values())


@pytest.mark.parametrize("name", PROJECTS)
def test_no_text_of_others_becomes_a_script(project: Projects, name: str) -> None:
    for text in scripts(project(name)):
        assert "${{" not in text
        checked = subprocess.run(["bash", "-n"], input=text, text=True, check=False)
        assert checked.returncode == 0, text


@pytest.mark.parametrize("name", PROJECTS)
def test_pipelines_use_targets_that_exist(project: Projects, name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", project(name).read("Makefile"), re.MULTILINE))
    commands = "\n".join(scripts(project(name)))
    used = set(re.findall(r"^make (\S+)", commands, re.MULTILINE))

    assert used == {"lint", "test"}
    assert used <= targets


# ── Vercel ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("changes", [{}, {"preset": "minimal", "ci": "none"}])
def test_vercel_serves_the_application(render: Render, changes: dict[str, str]) -> None:
    project = render(**{"preset": "serverless", "deploy": "vercel", **changes})
    configured = json.loads(project.read("vercel.json"))
    ((function, options),) = configured["functions"].items()

    assert configured["framework"] == "fastapi"
    assert function == "app/main.py"
    assert function in project.files
    assert '[tool.vercel]\nentrypoint = "app.main:app"\n' in project.read("pyproject.toml")
    assert "app" not in re.split(r"\W+", options["excludeFiles"])
    # Where a pipeline deploys, Vercel must not deploy the same push by itself.
    pipeline = {".github/workflows/ci.yml", ".gitlab-ci.yml"} & set(project.files)
    assert ("git" in configured) == bool(pipeline)
