"""What has to hold between the files that deploy and check a project, and the application.

Each rule yields the faults that it finds. Those of `tests.deploy.faults` are there to be found.
"""

import re
import subprocess
from collections.abc import Callable, Iterator
from itertools import product
from urllib.parse import urlsplit

from tests.deploy.delivery import Delivery, Manifests, Parsed
from tests.deploy.images import UV

Rule = Callable[[Delivery], Iterator[str]]
RULES: list[Rule] = []

# uvicorn's options, which it reads under these names.
OF_THE_SERVER = {"WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"}
# Read by Compose, by pipelines, and by the programs that they start.
OF_OTHERS = {
    "HTTPS_PORT",
    "POSTGRES_DB",
    "POSTGRES_PASSWORD",
    "POSTGRES_USER",
    "TEMPLATE_UPDATE_TOKEN",
    "TEST_DATABASE_URL",
    "VERCEL_ORG_ID",
    "VERCEL_PROJECT_ID",
    "VERCEL_TOKEN",
}
# PostgreSQL's default, and what it keeps for its superuser.
MAX_CONNECTIONS, RESERVED = 100, 3
# `docker stop` and Compose kill after as many seconds.
STOP_GRACE = 10


def rule(check: Rule) -> Rule:
    RULES.append(check)
    return check


def rule_of_image(check: Rule) -> Rule:
    def applied(delivery: Delivery) -> Iterator[str]:
        if delivery.instructions:
            yield from check(delivery)

    applied.__name__ = check.__name__
    return rule(applied)


def rule_of_overlays(check: Callable[[Delivery, Manifests], Iterator[str]]) -> Rule:
    def applied(delivery: Delivery) -> Iterator[str]:
        for name, manifests in delivery.overlays.items():
            for fault in check(delivery, manifests):
                yield f"{name}: {fault}"

    applied.__name__ = check.__name__
    return rule(applied)


# ── The image ────────────────────────────────────────────────────────────────────────────────────


@rule_of_image
def server_is_the_first_process(delivery: Delivery) -> Iterator[str]:
    if not delivery.last("CMD").startswith('["'):
        yield "CMD starts a shell"
    if "ENTRYPOINT" in dict(delivery.instructions):
        yield "ENTRYPOINT is set"


@rule_of_image
def image_runs_as_a_numeric_user(delivery: Delivery) -> Iterator[str]:
    if not re.fullmatch(r"[1-9]\d{4,}:[1-9]\d{4,}", delivery.last("USER")):
        yield delivery.last("USER")


@rule_of_image
def image_holds_no_secret(delivery: Delivery) -> Iterator[str]:
    values = " ".join(value for name, value in delivery.instructions if name in {"ARG", "ENV"})
    yield from (secret for secret in delivery.application.secrets if secret in values)


@rule_of_image
def image_refuses_to_guess(delivery: Delivery) -> Iterator[str]:
    if delivery.image_variables.get("ENVIRONMENT") != "production":
        yield "without settings, it starts as a developer's machine would"


@rule_of_image
def only_listed_files_enter_the_image(delivery: Delivery) -> Iterator[str]:
    lines = [line for line in delivery.files[".dockerignore"].splitlines() if line]
    first, *rest = [line for line in lines if not line.startswith("#")]
    listed = {line[1:] for line in rest if line.startswith("!")}
    if first != "*":
        yield "not everything is left out first"
    needed = {"app", "pyproject.toml", "uv.lock"}
    if delivery.has_database:
        needed |= {"alembic.ini", "migrations"}
    if listed != needed:
        yield f"{listed ^ needed} should not differ"
    if not needed - {"uv.lock"} <= {file.split("/")[0] for file in delivery.tree}:
        yield "what is needed does not exist"
    yield from {"**/.env*", "**/*.pem", "**/*.key"} - set(rest)


@rule_of_image
def dependencies_are_a_layer_of_their_own(delivery: Delivery) -> Iterator[str]:
    copied = [
        value.split()[1:]
        for name, value in delivery.instructions
        if name == "COPY" and value.startswith("--from=build /")
    ]
    if copied != [["/app/.venv", "/app/.venv"], ["/code", "/app"]]:
        yield str(copied)


@rule_of_image
def health_check_asks_a_route_that_exists(delivery: Delivery) -> Iterator[str]:
    asked = re.findall(r"'(/[^']+)'", delivery.last("HEALTHCHECK"))
    if not asked:
        yield "asks nothing"
    yield from set(asked) - set(delivery.application.paths)


@rule_of_image
def ports_agree(delivery: Delivery) -> Iterator[str]:
    port = delivery.last("EXPOSE")
    if delivery.image_variables["UVICORN_PORT"] != port:
        yield "UVICORN_PORT is not the one exposed"
    if f"'127.0.0.1', {port}" not in delivery.last("HEALTHCHECK"):
        yield "HEALTHCHECK asks another"
    if f"server app:{port};" not in delivery.nginx:
        yield "nginx asks another"
    published = {entry.rpartition(":")[2] for entry in delivery.services["nginx"]["ports"]}
    if published != set(re.findall(r"listen (\d+)", delivery.nginx)):
        yield "nginx listens on another than is published"


@rule_of_image
def requests_in_progress_end_before_docker_kills(delivery: Delivery) -> Iterator[str]:
    if int(delivery.image_variables["UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN"]) >= STOP_GRACE:
        yield "they would not"


@rule_of_image
def connections_outlive_those_that_nginx_keeps(delivery: Delivery) -> Iterator[str]:
    kept = int(delivery.image_variables["UVICORN_TIMEOUT_KEEP_ALIVE"])
    (upstream,) = re.findall(r"upstream app \{(.*?)\}", delivery.nginx, re.DOTALL)
    for seconds in re.findall(r"keepalive_timeout (\d+)s;", upstream) or ["none"]:
        if seconds == "none" or kept <= int(seconds):
            yield f"nginx keeps them for {seconds} s, the server for {kept} s"


# ── Compose ──────────────────────────────────────────────────────────────────────────────────────


@rule_of_image
def nothing_but_nginx_and_the_mailbox_is_published(delivery: Delivery) -> Iterator[str]:
    published = {name: s["ports"] for name, s in delivery.services.items() if "ports" in s}
    for port in published.pop("mailpit", []):
        if not port.startswith("127.0.0.1:"):
            yield "the mailbox is seen from elsewhere"
    if set(published) != {"nginx"}:
        yield str(set(published))


def _without_secret(value: str) -> bool:
    """Whether it is taken from the environment, required or else empty, or is a URL without one."""
    if re.fullmatch(r"\$\{[A-Z_]+:(\?[^{}]+|-)\}", value):
        return True
    url = re.sub(r"\$\{[A-Z_]+:\?[^{}]+\}", "REQUIRED", value)
    return "$" not in url and "://" in url and urlsplit(url).password in {None, "REQUIRED"}


@rule_of_image
def secrets_of_compose_come_from_the_environment(delivery: Delivery) -> Iterator[str]:
    secrets = {*delivery.application.secrets, "POSTGRES_PASSWORD"}
    for name, service in delivery.services.items():
        for variable, value in service.get("environment", {}).items():
            if variable in secrets and not _without_secret(str(value)):
                yield f"{name}: {variable}"


@rule_of_image
def settings_reach_the_servers_of_compose(delivery: Delivery) -> Iterator[str]:
    """From `.env`, but for those that follow from the other services."""
    fixed = {"ENVIRONMENT", "DATABASE_URL", "FORWARDED_ALLOW_IPS", "RATE_LIMIT_STORAGE_URI"}
    if not delivery.has_postgresql:
        fixed.add("WEB_CONCURRENCY")
    for name, service in delivery.services.items():
        is_ours = name in {"app", "migrate"}
        if service.get("env_file") != ([{"path": ".env", "required": False}] if is_ours else None):
            yield f"{name} does not read .env, or should not"
        for variable, value in service.get("environment", {}).items() if is_ours else ():
            if variable not in fixed and not str(value).startswith(f"${{{variable}:"):
                yield f"{name} sets {variable} itself"
        if is_ours and service["environment"]["ENVIRONMENT"] != "production":
            yield f"{name} may start half configured"


@rule_of_image
def compose_starts_what_is_needed_first(delivery: Delivery) -> Iterator[str]:
    services = delivery.services
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                if needed != "app" and "test" not in services[needed]["healthcheck"]:
                    yield f"{needed} has no health check"
            elif how["condition"] != "service_completed_successfully" or (
                "restart" in services[needed]
            ):
                yield f"{name} does not wait for {needed}"
    first = {"migrate"} if delivery.has_database else set()
    first |= {"redis"} if delivery.counts_requests else set()
    if set(services["app"].get("depends_on", {})) != first:
        yield "app does not wait for what it needs"
    if delivery.has_postgresql and "postgres" not in services["migrate"]["depends_on"]:
        yield "migrate does not wait for the database"


@rule_of_image
def containers_are_confined(delivery: Delivery) -> Iterator[str]:
    for name, service in delivery.services.items():
        if name == "postgres":  # changes its user and writes when it starts
            continue
        if service.get("read_only") is not True:
            yield f"{name} can write to its image"
        if service.get("cap_drop") != ["ALL"]:
            yield f"{name} keeps capabilities"
        if service.get("security_opt") != ["no-new-privileges:true"]:
            yield f"{name} can gain privileges"
        if "privileged" in service or "cap_add" in service:
            yield f"{name} is given privileges"


@rule_of_image
def database_and_counters_have_no_way_out(delivery: Delivery) -> Iterator[str]:
    for name in {"postgres", "redis"} & set(delivery.services):
        if delivery.services[name]["networks"] != ["backend"]:
            yield name
        if not delivery.yaml("compose.yaml")["networks"]["backend"]["internal"]:
            yield "the network is open"


def default(value: object) -> str:
    """What Compose takes when the variable is not set."""
    return re.sub(r"\$\{\w+:-([^{}]*)\}", r"\1", str(value))


def connections(settings: dict[str, str], delivery: Delivery) -> int:
    """How many a process may open."""
    names = ("DATABASE_POOL_SIZE", "DATABASE_MAX_OVERFLOW")
    return sum(int(settings.get(name) or delivery.application.settings[name]) for name in names)


@rule_of_image
def connections_of_compose_fit_the_database(delivery: Delivery) -> Iterator[str]:
    settings = delivery.services["app"]["environment"]
    workers = int(default(settings["WEB_CONCURRENCY"]))
    if delivery.has_postgresql:
        needed = workers * connections(settings, delivery) + 1
        if needed > MAX_CONNECTIONS - RESERVED:
            yield f"{needed} connections"
    elif workers != 1:
        yield "what one process holds, another does not see"


@rule_of_image
def nginx_takes_bodies_as_large_as_the_application(delivery: Delivery) -> Iterator[str]:
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;", delivery.nginx)
    limit = int(delivery.application.settings.get("MAX_BODY_BYTES", 1024 * 1024))
    if int(megabytes) * 1024 * 1024 != limit:
        yield f"{megabytes} MiB, not {limit} bytes"


@rule_of_image
def nginx_speaks_current_tls_only(delivery: Delivery) -> Iterator[str]:
    if re.findall(r"ssl_protocols (.+);", delivery.nginx) != ["TLSv1.2 TLSv1.3"]:
        yield "other versions"
    for port in re.findall(r"listen ([^;]+);", delivery.nginx):
        if not port.endswith(" ssl"):
            yield f"plain HTTP on {port}"


# ── Kubernetes ───────────────────────────────────────────────────────────────────────────────────


@rule_of_overlays
def probes_ask_routes_that_exist(delivery: Delivery, manifests: Manifests) -> Iterator[str]:
    asked = {name: probe["path"] for name, probe in manifests.probes.items()}
    if asked != {
        "startup": "/api/v1/health",
        "liveness": "/api/v1/health",
        "readiness": "/api/v1/ready",
    }:
        yield str(asked)
    yield from set(asked.values()) - set(delivery.application.paths)


@rule_of_overlays
def hosts_of_probes_and_ingress_are_allowed(
    delivery: Delivery, manifests: Manifests
) -> Iterator[str]:
    ingress = manifests.spec("Ingress")
    (rule,), (tls,) = ingress["rules"], ingress["tls"]
    if tls["hosts"] != [rule["host"]]:
        yield f"the certificate is for {tls['hosts']}"
    asked = [
        header["value"]
        for probe in manifests.probes.values()
        for header in probe.get("httpHeaders", [])
    ]
    service = manifests.one("Service")["metadata"]["name"]
    if "ALLOWED_HOSTS" not in delivery.application.settings:
        if asked or "ALLOWED_HOSTS" in manifests.settings:
            yield "hosts are not looked at"
        return
    if asked != [service] * 3:
        yield f"probes ask for {asked}"
    if set(manifests.settings["ALLOWED_HOSTS"].split(",")) != {rule["host"], service}:
        yield f"{manifests.settings['ALLOWED_HOSTS']} are allowed"


@rule_of_overlays
def public_names_are_those_of_the_ingress(
    delivery: Delivery, manifests: Manifests
) -> Iterator[str]:
    host = manifests.spec("Ingress")["rules"][0]["host"]
    names = {"JWT_ISSUER", "JWT_AUDIENCE", "PUBLIC_URL"} & set(delivery.application.settings)
    for name in names:
        if manifests.settings.get(name) != f"https://{host}":
            yield name


@rule_of_overlays
def ports_of_manifests_agree(delivery: Delivery, manifests: Manifests) -> Iterator[str]:
    (port,) = manifests.container["ports"]
    (service,) = manifests.spec("Service")["ports"]
    (path,) = manifests.spec("Ingress")["rules"][0]["http"]["paths"]
    (source,) = manifests.spec("NetworkPolicy")["ingress"]
    if port["containerPort"] != int(delivery.last("EXPOSE")):
        yield "the container's is not the image's"
    if service["targetPort"] != port["name"]:
        yield "the Service asks another"
    if path["backend"]["service"]["port"]["name"] != service["name"]:
        yield "the Ingress asks another"
    if source["ports"] != [{"port": port["name"]}]:
        yield "the NetworkPolicy lets in to another"
    if any(probe["port"] != port["name"] for probe in manifests.probes.values()):
        yield "probes ask another"


@rule_of_overlays
def pods_are_confined(delivery: Delivery, manifests: Manifests) -> Iterator[str]:
    user = int(delivery.last("USER").split(":")[0])
    for pod in manifests.pods:
        if pod["spec"].get("automountServiceAccountToken") is not False:
            yield "a pod has a token for the cluster"
        context = pod["spec"]["securityContext"]
        if (context.get("runAsNonRoot"), context.get("runAsUser")) != (True, user):
            yield "a pod's user is not the image's"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield "a pod may make any call to the kernel"
    for container in manifests.containers:
        if container["securityContext"] != {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }:
            yield f"{container['name']} is not confined"
        if {name: set(of) for name, of in container["resources"].items()} != {
            "requests": {"cpu", "memory"},
            "limits": {"cpu", "memory"},
        }:
            yield f"{container['name']} has no bounds"


@rule_of_overlays
def selectors_select_the_pods_they_are_for(_: Delivery, manifests: Manifests) -> Iterator[str]:
    deployment = manifests.spec("Deployment")
    labels = deployment["template"]["metadata"]["labels"].items()
    selectors = {
        "Deployment": deployment["selector"]["matchLabels"],
        "Service": manifests.spec("Service")["selector"],
        "PodDisruptionBudget": manifests.spec("PodDisruptionBudget")["selector"]["matchLabels"],
    }
    for spread in deployment["template"]["spec"]["topologySpreadConstraints"]:
        selectors[spread["topologyKey"]] = spread["labelSelector"]["matchLabels"]
    for name, selector in selectors.items():
        if not selector.items() <= labels:
            yield f"{name} does not select the server"
    for (name, selector), job in product(selectors.items(), manifests.jobs):
        if selector.items() <= job["metadata"]["labels"].items():
            yield f"{name} selects a job"
    policy = manifests.spec("NetworkPolicy")["podSelector"]["matchLabels"]
    for pod in manifests.pods:
        if not policy.items() <= pod["metadata"]["labels"].items():
            yield "NetworkPolicy leaves out a pod"
    target = manifests.spec("HorizontalPodAutoscaler")["scaleTargetRef"]
    if (target["kind"], target["name"]) != (
        "Deployment",
        manifests.one("Deployment")["metadata"]["name"],
    ):
        yield "HorizontalPodAutoscaler scales something else"


@rule_of_overlays
def pods_end_before_they_are_killed(_: Delivery, manifests: Manifests) -> Iterator[str]:
    waiting = manifests.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    graceful = int(manifests.settings["UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN"])
    given = manifests.server["terminationGracePeriodSeconds"]
    if waiting + graceful >= given:
        yield f"{waiting} s and {graceful} s are not below {given} s"


@rule_of_overlays
def connections_of_all_replicas_fit_the_database(
    delivery: Delivery, manifests: Manifests
) -> Iterator[str]:
    if not delivery.has_postgresql:
        return
    deployment = manifests.spec("Deployment")
    # A pod that ends holds its connections until it has.
    if deployment.get("minReadySeconds", 0) < manifests.server["terminationGracePeriodSeconds"]:
        yield "pods that end are more than the surge"
    surge = deployment["strategy"]["rollingUpdate"]["maxSurge"]
    replicas = manifests.spec("HorizontalPodAutoscaler")["maxReplicas"] + surge
    processes = replicas * int(manifests.settings["WEB_CONCURRENCY"])
    needed = processes * connections(manifests.settings, delivery) + len(manifests.jobs)
    if needed > MAX_CONNECTIONS - RESERVED:
        yield f"{needed} connections"


@rule
def production_has_three_replicas_and_survives_a_drain(delivery: Delivery) -> Iterator[str]:
    if "production" not in delivery.overlays or not delivery.has_database:
        return  # one replica, by the rule below
    manifests = delivery.overlays["production"]
    scaler = manifests.spec("HorizontalPodAutoscaler")
    if not 3 <= scaler["minReplicas"] < scaler["maxReplicas"]:
        yield f"{scaler['minReplicas']} to {scaler['maxReplicas']} replicas"
    if "replicas" in manifests.spec("Deployment"):
        yield "what is applied undoes what the autoscaler has decided"
    if manifests.spec("PodDisruptionBudget").get("maxUnavailable") != 1:
        yield "a drain takes several at a time, or none"
    if manifests.spec("Deployment")["strategy"]["rollingUpdate"]["maxUnavailable"] != 0:
        yield "a release takes some away"


@rule_of_overlays
def items_in_memory_are_in_one_replica(delivery: Delivery, manifests: Manifests) -> Iterator[str]:
    scaler = manifests.spec("HorizontalPodAutoscaler")
    if not delivery.has_database and (scaler["minReplicas"], scaler["maxReplicas"]) != (1, 1):
        yield f"{scaler['minReplicas']} to {scaler['maxReplicas']} replicas"


@rule_of_overlays
def secrets_are_referred_to_and_never_written(
    delivery: Delivery, manifests: Manifests
) -> Iterator[str]:
    if any(entry["kind"] == "Secret" for entry in manifests.objects):
        yield "a Secret is in the repository"
    yield from set(delivery.application.secrets) & set(manifests.settings)
    example = delivery.yaml("deploy/kubernetes/components/external-secret/external-secret.yaml")
    named = {example["spec"]["target"]["name"]} if example else set()
    if bool(named) != bool(delivery.application.secrets):
        yield "there are secrets, and no example, or the other way round"
    for container in manifests.containers:
        sources = [source["secretRef"] for source in container["envFrom"] if "secretRef" in source]
        if {source["name"] for source in sources} != named:
            yield f"{container['name']} takes secrets from elsewhere"


@rule_of_overlays
def forwarded_headers_are_believed_from_private_networks_only(
    _: Delivery, manifests: Manifests
) -> Iterator[str]:
    private = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}
    yield from set(manifests.settings["FORWARDED_ALLOW_IPS"].split(",")) - private


@rule_of_overlays
def overlays_are_held_to_the_rules_of_production(
    delivery: Delivery, manifests: Manifests
) -> Iterator[str]:
    environment = manifests.settings.get("ENVIRONMENT", delivery.image_variables["ENVIRONMENT"])
    if environment not in {"staging", "production"}:
        yield environment


@rule_of_overlays
def what_is_needed_can_be_reached_and_nothing_else(
    delivery: Delivery, manifests: Manifests
) -> Iterator[str]:
    policy = manifests.spec("NetworkPolicy")
    if set(policy["policyTypes"]) != {"Ingress", "Egress"}:
        yield "one direction is open"
    names, *others = policy["egress"]
    if names["to"] != [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
    ] or names["ports"] != [{"port": 53, "protocol": kind} for kind in ("UDP", "TCP")]:
        yield "no name can be looked up"
    needed = {
        5432: delivery.has_postgresql,
        6379: delivery.counts_requests,
        int(delivery.application.settings.get("SMTP_PORT", 0)): delivery.has_users,
        443: delivery.has_oidc,
    }
    open_ports = [port["port"] for other in others for port in other["ports"]]
    if sorted(open_ports) != sorted(port for port, is_needed in needed.items() if is_needed):
        yield f"{open_ports} can be reached"


@rule
def namespace_can_be_made_first(delivery: Delivery) -> Iterator[str]:
    for name, manifests in delivery.overlays.items():
        (selector,) = re.findall(r"-l ([^ =']+)=([^`\s]+)", delivery.document)
        first = [entry["kind"] for entry in manifests.objects if _label(entry, selector)]
        if first != ["Namespace"]:
            yield f"{name}: {first} come first"


def _label(entry: Parsed, selector: tuple[str, str]) -> bool:
    labels: dict[str, str] = entry["metadata"].get("labels", {})
    return labels.get(selector[0]) == selector[1]


@rule
def database_is_migrated_before_the_server_changes(delivery: Delivery) -> Iterator[str]:
    if not delivery.has_database:
        return
    for name, manifests in delivery.overlays.items():
        (selector,) = re.findall(r"-l '([^=]+)!=([^']+)'", delivery.document)
        later = [entry["kind"] for entry in manifests.objects if _label(entry, selector)]
        if later != ["Deployment"]:
            yield f"{name}: {later} come later"
        ended, complete = re.findall(r"kubectl wait --for=(\S+) \S+ job/(\w+)", delivery.document)
        job = manifests.one("Job")["metadata"]["name"]
        if (ended, complete) != (
            ("jsonpath='{.status.conditions}'", job),
            ("condition=complete", job),
        ):
            yield "a migration that fails is waited for"
        (container,) = manifests.spec("Job")["template"]["spec"]["containers"]
        if container["command"] != ["alembic", "upgrade", "head"]:
            yield f"{name}: {container['command']}"


# ── Pipelines ────────────────────────────────────────────────────────────────────────────────────


def _scripts(delivery: Delivery) -> str:
    return "\n".join(script for job in delivery.jobs for script in job.scripts)


@rule
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


@rule
def tests_of_pipelines_have_the_database_they_name(delivery: Delivery) -> Iterator[str]:
    for job in delivery.jobs:
        if "--database=postgresql" not in "\n".join(job.scripts):
            continue
        if not any(service.startswith("postgres:") for service in job.services):
            yield f"{job.name} has no server"
        url = urlsplit(job.variables.get("TEST_DATABASE_URL", ""))
        named = (url.scheme, url.password, url.path)
        if named != ("postgresql", "test", "/test"):
            yield f"{job.name} asks for {named}"


@rule
def what_is_released_has_passed(delivery: Delivery) -> Iterator[str]:
    """On GitHub, where jobs wait for those they need; GitLab's stages follow each other."""
    if not delivery.workflows:
        return
    checks = {"lint", "test"} | ({"test-postgresql"} if delivery.has_postgresql else set())
    for job in delivery.jobs:
        if re.search(r"^docker build|^npx .*vercel", "\n".join(job.scripts), re.MULTILINE) and (
            not checks <= job.needs
        ):
            yield f"{job.name} does not wait for {checks - job.needs}"


@rule
def stages_of_gitlab_follow_each_other(delivery: Delivery) -> Iterator[str]:
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


@rule
def actions_are_pinned_and_rights_are_few(delivery: Delivery) -> Iterator[str]:
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


@rule
def steps_see_a_secret_if_they_need_it(delivery: Delivery) -> Iterator[str]:
    for workflow in delivery.workflows.values():
        for name, job in workflow["jobs"].items():
            if re.search(r"secrets\.|github\.token", str(job.get("env", {}))):
                yield f"every step of {name}"
            for step in job["steps"]:
                if "uvx" in step.get("run", "") and "env" in step:
                    yield f"Copier, in {name}"


@rule
def variables_of_gitlab_can_be_scoped_to_jobs(delivery: Delivery) -> Iterator[str]:
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


@rule
def programs_of_pipelines_are_pinned(delivery: Delivery) -> Iterator[str]:
    for program in re.findall(r"\b(?:uvx|npx --yes) (\S+)", _scripts(delivery)):
        if not re.fullmatch(r"[\w-]+@\d+\.\d+\.\d+", program):
            yield program


@rule
def no_text_of_others_becomes_a_script(delivery: Delivery) -> Iterator[str]:
    for script in (script for job in delivery.jobs for script in job.scripts):
        if "${{" in script:
            yield f"{script} has an expression"
        if subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode:
            yield f"{script} does not parse"


@rule
def pipelines_use_targets_that_exist(delivery: Delivery) -> Iterator[str]:
    targets = re.findall(r"^([a-z-]+):", delivery.files["Makefile"], re.MULTILINE)
    yield from set(re.findall(r"^make (\S+)", _scripts(delivery), re.MULTILINE)) - set(targets)


# ── Vercel ───────────────────────────────────────────────────────────────────────────────────────


@rule
def vercel_serves_the_application(delivery: Delivery) -> Iterator[str]:
    if "vercel.json" not in delivery.files:
        return
    configured = delivery.json("vercel.json")
    ((function, options),) = configured["functions"].items()
    if configured["framework"] != "fastapi" or function != "app/main.py":
        yield f"{function} is served"
    if '[tool.vercel]\nentrypoint = "app.main:app"\n' not in delivery.files["pyproject.toml"]:
        yield "the application is not named"
    excluded = options["excludeFiles"].removesuffix("/**").strip("{}").split(",")
    if not set(excluded) <= {file.split("/")[0] for file in delivery.tree} - {"app"}:
        yield f"{excluded} are left out"
    # Where a pipeline deploys, Vercel must not deploy the same push by itself.
    if ("git" in configured) != (delivery.answers["ci"] != "none"):
        yield "a push is deployed twice, or never"


@rule
def instances_on_vercel_hold_few_connections(delivery: Delivery) -> Iterator[str]:
    if "vercel.json" not in delivery.files or not delivery.has_postgresql:
        return
    places = {"document": re.findall(r"`(DATABASE_\w+)=(\d+)`", delivery.document)}
    if delivery.jobs:
        places["pipeline"] = re.findall(r"--env (DATABASE_\w+)=(\d+)", _scripts(delivery))
    for place, pairs in places.items():
        given = dict(pairs)
        if given.keys() != {"DATABASE_POOL_SIZE", "DATABASE_MAX_OVERFLOW", "DATABASE_POOL_RECYCLE"}:
            yield f"{place}: {given}"
            continue
        instances = (MAX_CONNECTIONS - RESERVED) // connections(given, delivery)
        if f"enough for {instances} at a time" not in delivery.document:
            yield f"{place}: enough for {instances}"


# ── All of it ────────────────────────────────────────────────────────────────────────────────────


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


@rule
def every_variable_is_read_by_someone(delivery: Delivery) -> Iterator[str]:
    known = {*delivery.application.settings, *OF_THE_SERVER, *OF_OTHERS}
    for place, variables in _variables_by_place(delivery):
        for variable in variables - known:
            if not variable.startswith(("PYTHON", "UVICORN_")) and variable != "PATH":
                yield f"{place}: {variable}"


@rule
def variables_of_the_server_are_its_own(delivery: Delivery) -> Iterator[str]:
    for text in delivery.files.values():
        for variable in re.findall(r"\bUVICORN_([A-Z_]+)", text):
            if variable.lower() not in delivery.application.server_options:
                yield f"UVICORN_{variable}"


@rule
def commands_of_the_application_exist(delivery: Delivery) -> Iterator[str]:
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


@rule
def images_have_versions(delivery: Delivery) -> Iterator[str]:
    for image in _images(delivery):
        if image != f"{delivery.answers['project_slug']}:local" and not re.search(
            r":v?\d|:\$\{PYTHON_VERSION\}-", image
        ):
            yield image
    if any(":latest" in text for text in delivery.texts()):
        yield "latest"


@rule
def versions_are_the_same_everywhere(delivery: Delivery) -> Iterator[str]:
    texts = "\n".join(delivery.texts())
    for pattern, ours in {
        r"astral-sh/uv:(\d+\.\d+\.\d+)|setup-uv\S+ # v\S+\s+with:\s+version: \"([\d.]+)\"": {UV},
        r"\bpostgres:(\d[\w.]*)(?![\w./])": set(),
        r"copier@([\d.]+)": set(),
        r"actions/checkout@(.+)": set(),
        r"astral-sh/setup-uv@(.+)": set(),
    }.items():
        found = {"".join(groups) for groups in re.findall(pattern, texts)} | ours
        if len(found) > 1:
            yield str(found)
