"""Faults that the rules have to find, each planted in files that have none."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    rule: str
    project: str
    file: str
    old: str
    new: str
    """In place of the old text; where both are empty, the file is left out."""


IMAGE, COMPOSE, NGINX = "Dockerfile", "compose.yaml", "deploy/nginx/nginx.conf"
BASE, OVERLAYS = "deploy/kubernetes/base", "deploy/kubernetes/overlays"
GITHUB, GITLAB = ".github/workflows/ci.yml", ".gitlab-ci.yml"
UPDATE, DOCUMENT = ".github/workflows/template.yml", "docs/deployment.md"


def faults(rule: str, project: str, file: str, *changes: tuple[str, str]) -> list[Fault]:
    return [Fault(rule, project, file, old, new) for old, new in changes]


FAULTS = [
    # The image
    *faults(
        "server_is_the_first_process",
        "standard",
        IMAGE,
        ('CMD ["python", "-m", "app", "serve"]', "CMD python -m app serve"),
        ("USER 10001", 'ENTRYPOINT ["sh"]\nUSER 10001'),
    ),
    *faults("image_runs_as_a_numeric_user", "standard", IMAGE, ("USER 10001:10001", "USER app")),
    *faults(
        "image_holds_no_secret",
        "standard",
        IMAGE,
        ("ENV ENVIRONMENT", "ENV RSA_PRIVATE_KEY_CONTENT=x \\\n    ENVIRONMENT"),
        ("ARG PYTHON_VERSION=", "ARG DATABASE_URL\nARG PYTHON_VERSION="),
    ),
    *faults("image_refuses_to_guess", "minimal", IMAGE, ("=production", "=development")),
    *faults(
        "only_listed_files_enter_the_image",
        "standard",
        ".dockerignore",
        ("\n*\n", "\n"),
        ("!app\n", "!app\n!tests\n"),
        ("!app\n", "!app\n!.env\n"),
        ("!migrations\n", ""),
        ("**/.env*\n", ""),
        ("**/*.key\n", ""),
    ),
    *faults(
        "health_check_asks_a_route_that_exists", "minimal", IMAGE, ("v1/health'", "v1/healthz'")
    ),
    *faults(
        "ports_agree",
        "standard",
        IMAGE,
        ("EXPOSE 8000", "EXPOSE 8001"),
        ("UVICORN_PORT=8000", "UVICORN_PORT=8001"),
        ("'127.0.0.1', 8000", "'127.0.0.1', 8001"),
    ),
    *faults(
        "ports_agree", "standard", NGINX, ("app:8000", "app:80"), ("listen 8443", "listen 443")
    ),
    *faults(
        "requests_in_progress_end_before_docker_kills",
        "standard",
        IMAGE,
        ("GRACEFUL_SHUTDOWN=8", "GRACEFUL_SHUTDOWN=10"),
    ),
    *faults(
        "connections_outlive_those_that_nginx_keeps",
        "standard",
        IMAGE,
        ("KEEP_ALIVE=75", "KEEP_ALIVE=5"),
    ),
    *faults(
        "connections_outlive_those_that_nginx_keeps",
        "standard",
        NGINX,
        ("        keepalive_timeout 60s;", "        keepalive_timeout 90s;"),
        ("        keepalive_timeout 60s;\n", ""),
    ),
    # Compose
    *faults(
        "nothing_but_nginx_and_the_mailbox_is_published",
        "production",
        COMPOSE,
        ("127.0.0.1:8025:8025", "8025:8025"),
        ("    image: postgres:18\n", '    image: postgres:18\n    ports: ["5432:5432"]\n'),
    ),
    *faults(
        "secrets_of_compose_come_from_the_environment",
        "production",
        COMPOSE,
        (":?python -m app keys generate makes one}", ":-c2VjcmV0}"),
        (":?choose one, of letters and digits}@", ":-postgres}@"),
        ("${POSTGRES_PASSWORD:?choose one, of letters and digits}@", "postgres@"),
        ("${POSTGRES_PASSWORD:?choose one, of letters and digits}\n", "${POSTGRES_PASSWORD:-x}\n"),
        ("redis://redis", "redis://:secret@redis"),
    ),
    *faults(
        "secrets_of_compose_come_from_the_environment",
        "in-memory",
        COMPOSE,
        (":?python -m app api-keys create makes one}", ":-c2VjcmV0}"),
        (":?openssl rand -hex 32 makes one}", ":-c2VjcmV0}"),
    ),
    *faults(
        "settings_reach_the_servers_of_compose",
        "kubernetes",
        COMPOSE,
        ("${SMTP_HOST:-mailpit}", "mailpit"),
        ("${PUBLIC_URL:-https://localhost:${HTTPS_PORT:-8443}}", "https://localhost"),
        ("ENVIRONMENT: production", "ENVIRONMENT: ${ENVIRONMENT:-staging}"),
        ("    env_file: *env_file\n    environment: *settings\n", "    environment: *settings\n"),
        ("    network_mode: none\n", "    network_mode: none\n    env_file: *env_file\n"),
    ),
    *faults(
        "compose_starts_what_is_needed_first",
        "production",
        COMPOSE,
        ("condition: service_healthy", "condition: service_started"),
        ("      migrate:\n        condition: service_completed_successfully\n", ""),
        ("    command: [alembic", "    restart: always\n    command: [alembic"),
        ("      test: [CMD, pg_isready", "      tests: [CMD, pg_isready"),
    ),
    *faults(
        "containers_are_confined",
        "standard",
        COMPOSE,
        ("  read_only: true\n  security", "  security"),
        ("no place to write but /tmp.\n  cap_drop: [ALL]\n", "no place to write but /tmp.\n"),
        ('  security_opt: ["no-new-privileges:true"]\n  tmpfs: [/tmp]\n\n', "\n"),
        ("redis:8.10-alpine\n", "redis:8.10-alpine\n    cap_add: [NET_ADMIN]\n"),
        (
            "    cap_drop: [ALL]\n    healthcheck:\n      test: [CMD, redis",
            "    healthcheck:\n      test: [CMD, redis",
        ),
    ),
    *faults(
        "database_and_counters_have_no_way_out",
        "production",
        COMPOSE,
        ("internal: true", "internal: false"),
        ("networks: [backend]\n    restart", "networks: [edge, backend]\n    restart"),
    ),
    *faults(
        "connections_of_compose_fit_the_database",
        "production",
        COMPOSE,
        ("WEB_CONCURRENCY:-2", "WEB_CONCURRENCY:-8"),
    ),
    *faults(
        "connections_of_compose_fit_the_database",
        "standard",
        COMPOSE,
        ("WEB_CONCURRENCY: 1", "WEB_CONCURRENCY: 2"),
    ),
    *faults(
        "nginx_takes_bodies_as_large_as_the_application",
        "standard",
        NGINX,
        ("client_max_body_size 1m", "client_max_body_size 8m"),
    ),
    *faults(
        "nginx_speaks_current_tls_only",
        "standard",
        NGINX,
        ("ssl_protocols TLSv1.2", "ssl_protocols TLSv1 TLSv1.2"),
        ("listen 8443 ssl;", "listen 8443 ssl;\n        listen 8080;"),
    ),
    # Kubernetes
    *faults(
        "probes_ask_routes_that_exist",
        "minimal",
        f"{BASE}/deployment.yaml",
        ("/api/v1/health", "/healthz"),
        ("/api/v1/ready", "/api/v1/health"),
    ),
    *faults(
        "hosts_of_probes_and_ingress_are_allowed",
        "kubernetes",
        f"{OVERLAYS}/staging/kustomization.yaml",
        ("ALLOWED_HOSTS=api.staging.example.com,api", "ALLOWED_HOSTS=api.staging.example.com"),
        ("value: [api.staging.example.com]", "value: [api.example.com]"),
    ),
    *faults(
        "hosts_of_probes_and_ingress_are_allowed",
        "kubernetes",
        f"{BASE}/deployment.yaml",
        ("                  value: api\n", "                  value: localhost\n"),
    ),
    *faults(
        "public_names_are_those_of_the_ingress",
        "kubernetes",
        f"{OVERLAYS}/dev/kustomization.yaml",
        ("JWT_ISSUER=https://api.dev", "JWT_ISSUER=https://api"),
        ("      - PUBLIC_URL=https://api.dev.example.com\n", ""),
    ),
    *faults(
        "ports_of_manifests_agree",
        "kubernetes",
        f"{BASE}/deployment.yaml",
        ("containerPort: 8000", "containerPort: 80"),
        ("port: http\n", "port: web\n"),
    ),
    *faults(
        "ports_of_manifests_agree",
        "kubernetes",
        f"{BASE}/service.yaml",
        ("targetPort: http", "targetPort: web"),
        ("- name: http", "- name: web"),
    ),
    *faults(
        "ports_of_manifests_agree",
        "kubernetes",
        f"{BASE}/network-policy.yaml",
        ("- port: http", "- port: web"),
    ),
    *faults(
        "pods_are_confined",
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
    *faults(
        "selectors_select_the_pods_they_are_for",
        "kubernetes",
        f"{BASE}/disruption-budget.yaml",
        ("component: server", "component: migrate"),
        ("      app.kubernetes.io/component: server\n", ""),
    ),
    *faults(
        "selectors_select_the_pods_they_are_for",
        "kubernetes",
        f"{BASE}/service.yaml",
        ("    app.kubernetes.io/component: server\n", ""),
    ),
    *faults(
        "selectors_select_the_pods_they_are_for",
        "kubernetes",
        f"{BASE}/network-policy.yaml",
        ("      app.kubernetes.io/name: my-api", "      app.kubernetes.io/component: server"),
    ),
    *faults(
        "selectors_select_the_pods_they_are_for",
        "kubernetes",
        f"{BASE}/autoscaler.yaml",
        ("    name: api\n", "    name: my-api\n"),
    ),
    *faults(
        "pods_end_before_they_are_killed",
        "minimal",
        f"{BASE}/deployment.yaml",
        ("terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: 25"),
        ("seconds: 5", "seconds: 10"),
    ),
    *faults(
        "pods_end_before_they_are_killed",
        "minimal",
        f"{BASE}/settings.env",
        ("GRACEFUL_SHUTDOWN=20", "GRACEFUL_SHUTDOWN=25"),
    ),
    *faults(
        "connections_of_all_replicas_fit_the_database",
        "kubernetes",
        f"{BASE}/settings.env",
        ("DATABASE_POOL_SIZE=10", "DATABASE_POOL_SIZE=20"),
        ("WEB_CONCURRENCY=1", "WEB_CONCURRENCY=2"),
        ("DATABASE_MAX_OVERFLOW=5", "DATABASE_MAX_OVERFLOW=10"),
    ),
    *faults(
        "connections_of_all_replicas_fit_the_database",
        "kubernetes",
        f"{BASE}/autoscaler.yaml",
        ("maxReplicas: 5", "maxReplicas: 6"),
    ),
    *faults(
        "connections_of_all_replicas_fit_the_database",
        "kubernetes",
        f"{BASE}/deployment.yaml",
        ("maxSurge: 1", "maxSurge: 2"),
    ),
    *faults(
        "production_has_three_replicas_and_survives_a_drain",
        "kubernetes",
        f"{BASE}/autoscaler.yaml",
        ("minReplicas: 3", "minReplicas: 2"),
        ("maxReplicas: 5", "maxReplicas: 3"),
    ),
    *faults(
        "production_has_three_replicas_and_survives_a_drain",
        "kubernetes",
        f"{BASE}/deployment.yaml",
        ("  revisionHistoryLimit", "  replicas: 3\n  revisionHistoryLimit"),
        ("maxUnavailable: 0", "maxUnavailable: 1"),
    ),
    *faults(
        "production_has_three_replicas_and_survives_a_drain",
        "kubernetes",
        f"{BASE}/disruption-budget.yaml",
        ("maxUnavailable: 1", "maxUnavailable: 0"),
    ),
    *faults(
        "items_in_memory_are_in_one_replica",
        "in-memory",
        f"{BASE}/autoscaler.yaml",
        ("maxReplicas: 1", "maxReplicas: 2"),
        ("minReplicas: 1", "minReplicas: 3"),
    ),
    *faults(
        "secrets_are_referred_to_and_never_written",
        "kubernetes",
        f"{BASE}/settings.env",
        ("SMTP_HOST=", "SMTP_PASSWORD=secret\nSMTP_HOST="),
        ("SMTP_HOST=", 'OIDC_PROVIDERS={"x": {"client_secret": "y"}}\nSMTP_HOST='),
    ),
    *faults(
        "secrets_are_referred_to_and_never_written",
        "in-memory",
        f"{BASE}/settings.env",
        ("LOG_LEVEL=", f"API_KEYS={'0' * 64}\nLOG_LEVEL="),
    ),
    *faults(
        "secrets_are_referred_to_and_never_written",
        "kubernetes",
        f"{BASE}/migrate.yaml",
        ("            - secretRef:\n                name: api\n", ""),
        ("secretRef:\n                name: api", "secretRef:\n                name: api-secrets"),
    ),
    *faults(
        "secrets_are_referred_to_and_never_written",
        "kubernetes",
        f"{BASE}/namespace.yaml",
        (
            "apiVersion: v1\nkind: N",
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: x\n---\napiVersion: v1\nkind: N",
        ),
    ),
    *faults(
        "forwarded_headers_are_believed_from_private_networks_only",
        "kubernetes",
        f"{BASE}/settings.env",
        ("FORWARDED_ALLOW_IPS=10.0.0.0/8,172.16.0.0/12,192.168.0.0/16", "FORWARDED_ALLOW_IPS=*"),
    ),
    *faults(
        "overlays_are_held_to_the_rules_of_production",
        "kubernetes",
        f"{OVERLAYS}/dev/kustomization.yaml",
        ("ENVIRONMENT=staging", "ENVIRONMENT=development"),
    ),
    *faults(
        "what_is_needed_can_be_reached_and_nothing_else",
        "kubernetes",
        f"{BASE}/network-policy.yaml",
        ("k8s-app: kube-dns", "k8s-app: nothing"),
        ("metadata.name: kube-system", "metadata.name: default"),
        ("protocol: UDP", "protocol: SCTP"),
        ("port: 5432", "port: 5433"),
        ("port: 6379", "port: 6380"),
        ("port: 587", "port: 25"),
        ("    - ports:\n        - port: 443\n", ""),
        (
            "    - ports:\n        - port: 443\n",
            "    - ports:\n        - port: 443\n        - port: 80\n",
        ),
        ("policyTypes: [Ingress, Egress]", "policyTypes: [Ingress]"),
    ),
    *faults(
        "connections_of_all_replicas_fit_the_database",
        "kubernetes",
        f"{BASE}/deployment.yaml",
        ("minReadySeconds: 30", "minReadySeconds: 10"),
    ),
    *faults(
        "namespace_can_be_made_first",
        "minimal",
        f"{BASE}/namespace.yaml",
        ("    app.kubernetes.io/component: namespace\n", ""),
    ),
    *faults(
        "namespace_can_be_made_first",
        "minimal",
        DOCUMENT,
        ("component=namespace", "component=server"),
    ),
    *faults(
        "database_is_migrated_before_the_server_changes",
        "kubernetes",
        DOCUMENT,
        ("jsonpath='{.status.conditions}'", "condition=complete"),
        ("-timeout=30s job/migrate", "-timeout=30s job/migration"),
        ("component!=server", "component!=migrate"),
    ),
    *faults(
        "database_is_migrated_before_the_server_changes",
        "kubernetes",
        f"{BASE}/migrate.yaml",
        ("[alembic, upgrade, head]", "[alembic, upgrade, heads]"),
        ("component: migrate", "component: server"),
    ),
    # Pipelines
    *faults(
        "pipelines_have_every_stage",
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
    *faults(
        "pipelines_have_every_stage",
        "production",
        GITHUB,
        ("docker build --pull", "docker pull"),
        ("docker push", "docker images"),
        ("  pull_request:\n", '  pull_request:\n  schedule:\n    - cron: "0 0 * * *"\n'),
    ),
    Fault("pipelines_have_every_stage", "production", UPDATE, "", ""),
    *faults(
        "pipelines_have_every_stage",
        "production",
        UPDATE,
        ("  schedule:\n", "  push:\n"),
        ("check-update --quiet", "check-update"),
        ("update --defaults", "update --trust"),
    ),
    *faults(
        "pipelines_have_every_stage",
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
    *faults(
        "tests_of_pipelines_have_the_database_they_name",
        "production",
        GITHUB,
        ("image: postgres:18", "image: redis:8"),
        ("TEST_DATABASE_URL", "DATABASE_URL"),
    ),
    *faults(
        "tests_of_pipelines_have_the_database_they_name",
        "internal",
        GITLAB,
        ("name: postgres:18", "name: redis:8"),
        ("postgres:5432/test", "postgres:5432/postgres"),
    ),
    *faults(
        "what_is_released_has_passed",
        "production",
        GITHUB,
        ("    needs: [lint, test, test-postgresql]\n", ""),
        ("needs: [lint, test, test-postgresql]", "needs: [lint]"),
    ),
    *faults(
        "what_is_released_has_passed",
        "serverless",
        GITHUB,
        ("needs: [lint, test, test-postgresql]", "needs: [lint, test]"),
    ),
    *faults(
        "stages_of_gitlab_follow_each_other",
        "internal",
        GITLAB,
        ("stages: [check, build", "stages: [build, check"),
        ("  stage: build\n", "  stage: check\n"),
    ),
    *faults(
        "actions_are_pinned_and_rights_are_few",
        "production",
        GITHUB,
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7"),
        ("packages: write", "packages: write\n      id-token: write"),
        ("  lint:\n", "  lint:\n    permissions: write-all\n"),
        ("permissions:\n  contents: read\n", ""),
        ("    timeout-minutes: 20\n", ""),
    ),
    *faults(
        "actions_are_pinned_and_rights_are_few",
        "internal",
        GITLAB,
        ("  timeout: 15 minutes\n", ""),
    ),
    *faults(
        "steps_see_a_secret_if_they_need_it",
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
    *faults(
        "variables_of_gitlab_can_be_scoped_to_jobs",
        "internal",
        GITLAB,
        ("  environment:\n    name: template\n    action: access\n", ""),
        ("env --unset=TEMPLATE_UPDATE_TOKEN uvx", "uvx"),
    ),
    *faults(
        "variables_of_gitlab_can_be_scoped_to_jobs",
        "serverless-gitlab",
        GITLAB,
        ("  environment: production\n", ""),
    ),
    *faults(
        "programs_of_pipelines_are_pinned",
        "serverless",
        GITHUB,
        ("vercel@64.0.2", "vercel@latest"),
    ),
    *faults("programs_of_pipelines_are_pinned", "internal", GITLAB, ("copier@9.19.1", "copier")),
    *faults(
        "no_text_of_others_becomes_a_script",
        "production",
        GITHUB,
        ("run: make lint", "run: echo ${{ github.head_ref }}"),
        ("run: make lint", "run: if make lint"),
    ),
    *faults(
        "no_text_of_others_becomes_a_script", "internal", GITLAB, ("- make lint", "- (make lint")
    ),
    *faults(
        "pipelines_use_targets_that_exist", "production", "Makefile", ("\nlint: ", "\ncheck: ")
    ),
    # Vercel
    *faults(
        "vercel_serves_the_application",
        "serverless",
        "vercel.json",
        ('"app/main.py"', '"api/index.py"'),
        ("scripts,tests}", "app,tests}"),
        ('"git"', '"github"'),
        ('"fastapi"', '"flask"'),
    ),
    *faults(
        "vercel_serves_the_application", "serverless", "pyproject.toml", ("app.main:app", "app:app")
    ),
    # All of it
    *faults(
        "every_variable_is_read_by_someone",
        "standard",
        IMAGE,
        ("ENV ENVIRONMENT", "ENV ENVIROMENT=x \\\n    ENVIRONMENT"),
    ),
    *faults(
        "every_variable_is_read_by_someone",
        "production",
        COMPOSE,
        ("  ALLOWED_HOSTS:", "  ALLOWED_HOST:"),
        ("      POSTGRES_DB:", "      POSTGRES_DATABASE:"),
        ("${HTTPS_PORT", "${TLS_PORT"),
    ),
    *faults(
        "every_variable_is_read_by_someone",
        "kubernetes",
        f"{BASE}/settings.env",
        ("DATABASE_POOL_SIZE", "DB_POOL_SIZE"),
    ),
    *faults(
        "every_variable_is_read_by_someone",
        "serverless",
        DOCUMENT,
        ("DATABASE_POOL_RECYCLE=300", "DATABASE_RECYCLE=300"),
        ("`MAX_BODY_BYTES` stays", "`MAX_BODY` stays"),
    ),
    *faults(
        "every_variable_is_read_by_someone",
        "serverless",
        GITHUB,
        ("VERCEL_ORG_ID:", "VERCEL_ORGANISATION:"),
        ("ENVIRONMENT: test", "ENVIROMENT: test"),
    ),
    *faults(
        "every_variable_is_read_by_someone",
        "internal",
        GITLAB,
        ("TEST_DATABASE_URL:", "TEST_DB_URL:"),
    ),
    *faults(
        "variables_of_the_server_are_its_own",
        "standard",
        IMAGE,
        ("UVICORN_TIMEOUT_KEEP_ALIVE", "UVICORN_KEEP_ALIVE"),
    ),
    *faults(
        "variables_of_the_server_are_its_own",
        "standard",
        DOCUMENT,
        ("UVICORN_TIMEOUT_KEEP_ALIVE", "UVICORN_KEEP_ALIVE"),
    ),
    *faults(
        "commands_of_the_application_exist",
        "kubernetes",
        f"{BASE}/purge.yaml",
        ("app, purge]", "app, purgee]"),
    ),
    *faults(
        "commands_of_the_application_exist",
        "kubernetes",
        DOCUMENT,
        ("app keys generate", "app keys make"),
    ),
    *faults(
        "images_have_versions",
        "production",
        COMPOSE,
        ("postgres:18", "postgres"),
        ("nginx:1.30-alpine", "nginx:latest"),
    ),
    *faults("images_have_versions", "production", IMAGE, ("uv:0.13.9 AS", "uv AS")),
    *faults(
        "images_have_versions",
        "internal",
        GITLAB,
        ("docker:29-dind", "docker:dind"),
        ("image: docker:29-cli", "image: docker:cli"),
        ("name: postgres:18", "name: postgres"),
    ),
    *faults(
        "images_have_versions",
        "kubernetes",
        f"{OVERLAYS}/dev/kustomization.yaml",
        ('    newTag: "0.1.0"\n', ""),
    ),
    *faults(
        "versions_are_the_same_everywhere",
        "production",
        IMAGE,
        ("uv:0.13.9", "uv:0.13.8"),
    ),
    *faults(
        "versions_are_the_same_everywhere",
        "production",
        UPDATE,
        ('version: "0.13.9"', 'version: "0.13.8"'),
        ("copier@9.19.1 update", "copier@9.19.0 update"),
        ("# v7.0.1", "# v7.0.0"),
    ),
    *faults(
        "versions_are_the_same_everywhere", "production", COMPOSE, ("postgres:18", "postgres:17")
    ),
    *faults("versions_are_the_same_everywhere", "internal", GITLAB, ("uv:0.13.9", "uv:0.13.8")),
]
