"""The Kubernetes manifests, as kustomize builds each overlay."""

import re
from collections.abc import Iterator
from itertools import product

from tests.deploy.connections import AVAILABLE, per_process
from tests.deploy.delivery import Delivery, Manifests, Parsed
from tests.deploy.rule import BASE, DOCUMENT, OVERLAYS, faults, rule, rule_of_overlays


@rule_of_overlays(
    faults(
        "minimal",
        f"{BASE}/deployment.yaml",
        ("/api/v1/health", "/healthz"),
        ("/api/v1/ready", "/api/v1/health"),
    ),
)
def probes_request_existing_routes(delivery: Delivery, manifests: Manifests) -> Iterator[str]:
    asked = {name: probe["path"] for name, probe in manifests.probes.items()}
    if asked != {
        "startup": "/api/v1/health",
        "liveness": "/api/v1/health",
        "readiness": "/api/v1/ready",
    }:
        yield str(asked)
    yield from set(asked.values()) - set(delivery.application.paths)


@rule_of_overlays(
    faults(
        "kubernetes",
        f"{OVERLAYS}/staging/kustomization.yaml",
        ("ALLOWED_HOSTS=api.staging.example.com,api", "ALLOWED_HOSTS=api.staging.example.com"),
        ("value: [api.staging.example.com]", "value: [api.example.com]"),
    ),
    faults(
        "kubernetes",
        f"{BASE}/deployment.yaml",
        ("                  value: api\n", "                  value: localhost\n"),
    ),
)
def hosts_of_probes_and_ingress_are_allowed(
    delivery: Delivery, manifests: Manifests
) -> Iterator[str]:
    ingress = manifests.spec("Ingress")
    (entry,), (tls,) = ingress["rules"], ingress["tls"]
    if tls["hosts"] != [entry["host"]]:
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
    if set(manifests.settings["ALLOWED_HOSTS"].split(",")) != {entry["host"], service}:
        yield f"{manifests.settings['ALLOWED_HOSTS']} are allowed"


@rule_of_overlays(
    faults(
        "kubernetes",
        f"{OVERLAYS}/dev/kustomization.yaml",
        ("JWT_ISSUER=https://api.dev", "JWT_ISSUER=https://api"),
        ("      - PUBLIC_URL=https://api.dev.example.com\n", ""),
    ),
)
def public_urls_match_the_ingress(delivery: Delivery, manifests: Manifests) -> Iterator[str]:
    host = manifests.spec("Ingress")["rules"][0]["host"]
    names = {"JWT_ISSUER", "JWT_AUDIENCE", "PUBLIC_URL"} & set(delivery.application.settings)
    for name in names:
        if manifests.settings.get(name) != f"https://{host}":
            yield name


@rule_of_overlays(
    faults(
        "kubernetes",
        f"{BASE}/deployment.yaml",
        ("containerPort: 8000", "containerPort: 80"),
        ('value: "8000"', 'value: "80"'),
        ("port: http\n", "port: web\n"),
    ),
    faults(
        "kubernetes",
        f"{BASE}/service.yaml",
        ("targetPort: http", "targetPort: web"),
        ("- name: http", "- name: web"),
    ),
    faults(
        "kubernetes",
        f"{BASE}/network-policy.yaml",
        ("- port: http", "- port: web"),
    ),
)
def ports_agree(delivery: Delivery, manifests: Manifests) -> Iterator[str]:
    (port,) = manifests.container["ports"]
    (service,) = manifests.spec("Service")["ports"]
    (path,) = manifests.spec("Ingress")["rules"][0]["http"]["paths"]
    (source,) = manifests.spec("NetworkPolicy")["ingress"]
    if {"name": "PORT", "value": str(port["containerPort"])} not in manifests.container["env"]:
        yield "the server listens on another"
    if str(port["containerPort"]) != delivery.port:
        yield "the container's is not the image's"
    if service["targetPort"] != port["name"]:
        yield "the Service asks another"
    if path["backend"]["service"]["port"]["name"] != service["name"]:
        yield "the Ingress asks another"
    if source["ports"] != [{"port": port["name"]}]:
        yield "the NetworkPolicy lets in to another"
    if any(probe["port"] != port["name"] for probe in manifests.probes.values()):
        yield "probes ask another"


@rule_of_overlays(
    faults(
        "kubernetes",
        f"{BASE}/purge.yaml",
        ("automountServiceAccountToken: false", "automountServiceAccountToken: true"),
        ("runAsUser: 10001", "runAsUser: 10002"),
        ("runAsNonRoot: true", "runAsNonRoot: false"),
        ("type: RuntimeDefault", "type: Unconfined"),
        ("drop: [ALL]", "drop: [NET_RAW]"),
        ("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
        ("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"),
        ("                  memory: 256Mi\n", ""),
    ),
)
def pods_are_sandboxed(delivery: Delivery, manifests: Manifests) -> Iterator[str]:
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


@rule_of_overlays(
    faults(
        "kubernetes",
        f"{BASE}/disruption-budget.yaml",
        ("component: server", "component: migrate"),
        ("      app.kubernetes.io/component: server\n", ""),
    ),
    faults(
        "kubernetes",
        f"{BASE}/service.yaml",
        ("    app.kubernetes.io/component: server\n", ""),
    ),
    faults(
        "kubernetes",
        f"{BASE}/network-policy.yaml",
        ("      app.kubernetes.io/name: my-api", "      app.kubernetes.io/component: server"),
    ),
    faults(
        "kubernetes",
        f"{BASE}/autoscaler.yaml",
        ("    name: api\n", "    name: my-api\n"),
    ),
)
def selectors_match_the_intended_pods(_: Delivery, manifests: Manifests) -> Iterator[str]:
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


@rule_of_overlays(
    faults(
        "minimal",
        f"{BASE}/deployment.yaml",
        ("terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: 25"),
        ("seconds: 5", "seconds: 10"),
    ),
    faults(
        "minimal",
        f"{BASE}/settings.env",
        ("GRACEFUL_SHUTDOWN=20", "GRACEFUL_SHUTDOWN=25"),
    ),
)
def shutdown_fits_the_grace_period(_: Delivery, manifests: Manifests) -> Iterator[str]:
    waiting = manifests.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    graceful = int(manifests.settings["UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN"])
    given = manifests.server["terminationGracePeriodSeconds"]
    if waiting + graceful >= given:
        yield f"{waiting} s and {graceful} s are not below {given} s"


@rule_of_overlays(
    faults(
        "kubernetes",
        f"{BASE}/settings.env",
        ("DATABASE_POOL_SIZE=10", "DATABASE_POOL_SIZE=20"),
        ("WEB_CONCURRENCY=1", "WEB_CONCURRENCY=2"),
        ("DATABASE_MAX_OVERFLOW=4", "DATABASE_MAX_OVERFLOW=10"),
    ),
    faults(
        "kubernetes",
        f"{BASE}/autoscaler.yaml",
        ("maxReplicas: 5", "maxReplicas: 6"),
    ),
    faults(
        "kubernetes",
        f"{BASE}/deployment.yaml",
        ("maxSurge: 1", "maxSurge: 2"),
        ("minReadySeconds: 30", "minReadySeconds: 10"),
    ),
)
def pools_of_all_replicas_fit_the_database(
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
    needed = processes * per_process(manifests.settings, delivery.application) + len(manifests.jobs)
    if needed > AVAILABLE:
        yield f"{needed} connections"


@rule(
    faults(
        "kubernetes",
        f"{BASE}/autoscaler.yaml",
        ("minReplicas: 3", "minReplicas: 2"),
        ("maxReplicas: 5", "maxReplicas: 3"),
    ),
    faults(
        "kubernetes",
        f"{BASE}/deployment.yaml",
        ("  revisionHistoryLimit", "  replicas: 3\n  revisionHistoryLimit"),
        ("maxUnavailable: 0", "maxUnavailable: 1"),
    ),
    faults(
        "kubernetes",
        f"{BASE}/disruption-budget.yaml",
        ("maxUnavailable: 1", "maxUnavailable: 0"),
        ("  unhealthyPodEvictionPolicy: AlwaysAllow\n", ""),
    ),
)
def production_has_three_replicas_and_survives_a_drain(delivery: Delivery) -> Iterator[str]:
    if "production" not in delivery.overlays or not delivery.has_database:
        return  # one replica, by the rule below
    manifests = delivery.overlays["production"]
    scaler = manifests.spec("HorizontalPodAutoscaler")
    if not 3 <= scaler["minReplicas"] < scaler["maxReplicas"]:
        yield f"{scaler['minReplicas']} to {scaler['maxReplicas']} replicas"
    if "replicas" in manifests.spec("Deployment"):
        yield "what is applied undoes what the autoscaler has decided"
    if manifests.spec("PodDisruptionBudget").get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
        yield "a pod that crashes blocks a drain"
    if manifests.spec("PodDisruptionBudget").get("maxUnavailable") != 1:
        yield "a drain takes several at a time, or none"
    if manifests.spec("Deployment")["strategy"]["rollingUpdate"]["maxUnavailable"] != 0:
        yield "a release takes some away"


@rule_of_overlays(
    faults(
        "in-memory",
        f"{BASE}/autoscaler.yaml",
        ("maxReplicas: 1", "maxReplicas: 2"),
        ("minReplicas: 1", "minReplicas: 3"),
    ),
)
def items_in_memory_run_in_one_replica(delivery: Delivery, manifests: Manifests) -> Iterator[str]:
    scaler = manifests.spec("HorizontalPodAutoscaler")
    if not delivery.has_database and (scaler["minReplicas"], scaler["maxReplicas"]) != (1, 1):
        yield f"{scaler['minReplicas']} to {scaler['maxReplicas']} replicas"


@rule_of_overlays(
    faults(
        "kubernetes",
        f"{BASE}/settings.env",
        ("SMTP_HOST=", "SMTP_PASSWORD=secret\nSMTP_HOST="),
        ("SMTP_HOST=", 'OIDC_PROVIDERS={"x": {"client_secret": "y"}}\nSMTP_HOST='),
    ),
    faults(
        "in-memory",
        f"{BASE}/settings.env",
        ("LOG_LEVEL=", f"API_KEYS={'0' * 64}\nLOG_LEVEL="),
    ),
    faults(
        "kubernetes",
        f"{BASE}/migrate.yaml",
        (
            "            - configMapRef:\n",
            "            - secretRef:\n                name: api\n            - configMapRef:\n",
        ),
        ("key: DATABASE_URL", "key: RSA_PRIVATE_KEY_CONTENT"),
        ("                  name: api\n", "                  name: other\n"),
    ),
    faults(
        "kubernetes",
        f"{BASE}/namespace.yaml",
        (
            "apiVersion: v1\nkind: N",
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: x\n---\napiVersion: v1\nkind: N",
        ),
    ),
)
def secrets_are_referenced_and_never_committed(
    delivery: Delivery, manifests: Manifests
) -> Iterator[str]:
    if any(entry["kind"] == "Secret" for entry in manifests.objects):
        yield "a Secret is in the repository"
    yield from set(delivery.application.secrets) & set(manifests.settings)
    example = delivery.yaml("deploy/kubernetes/components/external-secret/external-secret.yaml")
    named = {example["spec"]["target"]["name"]} if example else set()
    if bool(named) != bool(delivery.application.secrets):
        yield "there are secrets, and no example, or the other way round"
    server, *jobs = manifests.containers
    sources = [source["secretRef"] for source in server["envFrom"] if "secretRef" in source]
    if {source["name"] for source in sources} != named:
        yield "the server takes secrets from elsewhere"
    for container in jobs:
        keys = [(entry["name"], entry["valueFrom"]["secretKeyRef"]) for entry in container["env"]]
        if keys != [("DATABASE_URL", {"name": "api", "key": "DATABASE_URL"})] or any(
            "secretRef" in source for source in container["envFrom"]
        ):
            yield f"{container['name']} has not the database alone"


@rule_of_overlays(
    faults(
        "kubernetes",
        f"{BASE}/settings.env",
        ("FORWARDED_ALLOW_IPS=", "FORWARDED_ALLOW_IPS=*"),
        ("FORWARDED_ALLOW_IPS=", "FORWARDED_ALLOW_IPS=10.0.0.0/8"),
    ),
)
def forwarded_headers_are_trusted_from_nobody(_: Delivery, manifests: Manifests) -> Iterator[str]:
    """Until someone names them: wide networks hold clients and nodes too, who could then forge."""
    if manifests.settings["FORWARDED_ALLOW_IPS"]:
        yield manifests.settings["FORWARDED_ALLOW_IPS"]


@rule_of_overlays(
    faults(
        "kubernetes",
        f"{OVERLAYS}/dev/kustomization.yaml",
        ("ENVIRONMENT=staging", "ENVIRONMENT=development"),
    ),
)
def overlays_are_deployed_environments(delivery: Delivery, manifests: Manifests) -> Iterator[str]:
    environment = manifests.settings.get("ENVIRONMENT", delivery.image_variables["ENVIRONMENT"])
    if environment not in {"staging", "production"}:
        yield environment


@rule_of_overlays(
    faults(
        "kubernetes",
        f"{BASE}/network-policy.yaml",
        ("k8s-app: kube-dns", "k8s-app: nothing"),
        ("metadata.name: kube-system", "metadata.name: default"),
        ("protocol: UDP", "protocol: SCTP"),
        ("port: 5432", "port: 5433"),
        ("port: 6379", "port: 6380"),
        ("port: 587", "port: 25"),
        ("port: 465", "port: 25"),
        ("169.254.20.10/32", "169.254.20.11/32"),
        ("        - ipBlock:\n            cidr: 169.254.169.254/32\n", ""),
        ("    - ports:\n        - port: 443\n", ""),
        (
            "    - ports:\n        - port: 443\n",
            "    - ports:\n        - port: 443\n        - port: 80\n",
        ),
        ("policyTypes: [Ingress, Egress]", "policyTypes: [Ingress]"),
    ),
)
def egress_allows_the_dependencies_only(delivery: Delivery, manifests: Manifests) -> Iterator[str]:
    policy = manifests.spec("NetworkPolicy")
    if set(policy["policyTypes"]) != {"Ingress", "Egress"}:
        yield "one direction is open"
    names, *others = policy["egress"]
    if names["to"] != [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        },
        # Resolvers of the node, which no selector matches.
        {"ipBlock": {"cidr": "169.254.20.10/32"}},
        {"ipBlock": {"cidr": "169.254.169.254/32"}},
    ] or names["ports"] != [{"port": 53, "protocol": kind} for kind in ("UDP", "TCP")]:
        yield "no name can be looked up"
    needed = {
        5432: delivery.has_postgresql,
        6379: delivery.counts_requests,
        int(delivery.application.settings.get("SMTP_PORT", 0)): delivery.has_users,
        465: delivery.has_users,
        443: delivery.has_oidc,
    }
    open_ports = [port["port"] for other in others for port in other["ports"]]
    if sorted(open_ports) != sorted(port for port, is_needed in needed.items() if is_needed):
        yield f"{open_ports} can be reached"


@rule(
    faults(
        "minimal",
        f"{BASE}/namespace.yaml",
        ("    app.kubernetes.io/component: namespace\n", ""),
    ),
    faults(
        "minimal",
        DOCUMENT,
        ("component=namespace", "component=server"),
    ),
)
def namespace_can_be_created_first(delivery: Delivery) -> Iterator[str]:
    for name, manifests in delivery.overlays.items():
        (selector,) = re.findall(r"-l ([^ =']+)=([^`\s]+)", delivery.document)
        first = [entry["kind"] for entry in manifests.objects if _label(entry, selector)]
        if first != ["Namespace"]:
            yield f"{name}: {first} come first"


def _label(entry: Parsed, selector: tuple[str, str]) -> bool:
    labels: dict[str, str] = entry["metadata"].get("labels", {})
    return labels.get(selector[0]) == selector[1]


@rule(
    faults(
        "kubernetes",
        DOCUMENT,
        ("jsonpath='{.status.conditions}'", "condition=complete"),
        ("-timeout=30s job/migrate", "-timeout=30s job/migration"),
        ("notin (server, purge)", "notin (server)"),
        ("notin (server, purge)", "notin (purge)"),
    ),
    faults(
        "kubernetes",
        f"{BASE}/migrate.yaml",
        ("[alembic, upgrade, head]", "[alembic, upgrade, heads]"),
        ("component: migrate", "component: server"),
    ),
)
def migration_runs_before_the_rollout(delivery: Delivery) -> Iterator[str]:
    if not delivery.has_database:
        return
    for name, manifests in delivery.overlays.items():
        ((label, values),) = re.findall(r"-l '(\S+) notin \(([^']+)\)'", delivery.document)
        selectors = [(label, value) for value in values.split(", ")]
        later = [
            entry["kind"]
            for entry in manifests.objects
            if any(_label(entry, selector) for selector in selectors)
        ]
        expected = ["CronJob", "Deployment"] if delivery.has_users else ["Deployment"]
        if sorted(later) != expected:
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
