"""The image: what it contains, how it starts and how it ends."""

import re
from collections.abc import Iterator

from tests.deploy.delivery import Delivery
from tests.deploy.rule import DOCKERFILE, NGINX, faults, rule_of_image

# `docker stop` and Compose kill after as many seconds.
STOP_GRACE = 10


@rule_of_image(
    faults(
        "standard",
        DOCKERFILE,
        ('CMD ["python", "-m", "app", "serve"]', "CMD python -m app serve"),
        ("USER 10001", 'ENTRYPOINT ["sh"]\nUSER 10001'),
    ),
)
def server_is_the_first_process(delivery: Delivery) -> Iterator[str]:
    if not delivery.last("CMD").startswith('["'):
        yield "CMD starts a shell"
    if "ENTRYPOINT" in dict(delivery.instructions):
        yield "ENTRYPOINT is set"


@rule_of_image(
    faults(
        "standard",
        DOCKERFILE,
        ("USER 10001:10001", "USER app"),
    ),
)
def image_runs_as_a_numeric_user(delivery: Delivery) -> Iterator[str]:
    if not re.fullmatch(r"[1-9]\d{4,}:[1-9]\d{4,}", delivery.last("USER")):
        yield delivery.last("USER")


@rule_of_image(
    faults(
        "standard",
        DOCKERFILE,
        ("    ENVIRONMENT=", "    RSA_PRIVATE_KEY_CONTENT=x \\\n    ENVIRONMENT="),
        ("ARG PYTHON_VERSION=", "ARG DATABASE_URL\nARG PYTHON_VERSION="),
    ),
)
def image_contains_no_secret(delivery: Delivery) -> Iterator[str]:
    values = " ".join(value for name, value in delivery.instructions if name in {"ARG", "ENV"})
    yield from (secret for secret in delivery.application.secrets if secret in values)


@rule_of_image(
    faults(
        "minimal",
        DOCKERFILE,
        ("=production", "=development"),
    ),
)
def image_defaults_to_production(delivery: Delivery) -> Iterator[str]:
    if delivery.image_variables.get("ENVIRONMENT") != "production":
        yield "without settings, it starts as a developer's machine would"


@rule_of_image(
    faults(
        "standard",
        ".dockerignore",
        ("\n*\n", "\n"),
        ("!app\n", "!app\n!tests\n"),
        ("!app\n", "!app\n!.env\n"),
        ("!migrations\n", ""),
        ("**/.env*\n", ""),
        ("**/.keys/\n", ""),
        ("**/*.db\n", ""),
        ("**/*.key\n", ""),
    ),
)
def build_context_is_an_allow_list(delivery: Delivery) -> Iterator[str]:
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
    secrets = ("**/.env*", "**/.keys/", "**/*.key", "**/*.pem")
    local = ("**/.postgresql/", "**/*.db", "**/*.db-*")
    yield from {*secrets, *local} - set(rest)


@rule_of_image(
    faults(
        "minimal",
        DOCKERFILE,
        ("COPY --from=build /app/.venv /app/.venv\n", "COPY --from=build /app /app\n"),
    ),
)
def dependencies_have_their_own_layer(delivery: Delivery) -> Iterator[str]:
    copied = [
        value.split()[1:]
        for name, value in delivery.instructions
        if name == "COPY" and value.startswith("--from=build /")
    ]
    if copied != [["/app/.venv", "/app/.venv"], ["/code", "/app"]]:
        yield str(copied)


@rule_of_image(
    faults(
        "minimal",
        DOCKERFILE,
        ("v1/health'", "v1/healthz'"),
    ),
)
def health_check_requests_an_existing_route(delivery: Delivery) -> Iterator[str]:
    asked = re.findall(r"'(/[^']+)'", delivery.last("HEALTHCHECK"))
    if not asked:
        yield "asks nothing"
    yield from set(asked) - set(delivery.application.paths)


@rule_of_image(
    faults(
        "standard",
        DOCKERFILE,
        ("EXPOSE $PORT", "EXPOSE 8000"),
        ("    PORT=8000", "    UVICORN_PORT=8000"),
        ("'127.0.0.1', port", "'127.0.0.1', 8000"),
        ("environ['PORT']", "8000"),
    ),
    faults(
        "standard",
        "compose.yaml",
        ("      PORT: 8000", "      PORT: 8001"),
        ("      UVICORN_PORT: 8000\n", ""),
    ),
    faults(
        "standard",
        NGINX,
        ("app:8000", "app:80"),
        ("listen 8443", "listen 443"),
    ),
)
def ports_agree(delivery: Delivery) -> Iterator[str]:
    if delivery.last("EXPOSE") != "$PORT":
        yield "EXPOSE does not follow PORT"
    if not re.search(r"environ\['PORT'\].*'127\.0\.0\.1', port,", delivery.last("HEALTHCHECK")):
        yield "HEALTHCHECK does not follow PORT"
    if "UVICORN_PORT" in delivery.image_variables:
        yield "UVICORN_PORT hides the PORT of a platform"
    variables = delivery.services["app"]["environment"]
    for name in ("PORT", "UVICORN_PORT"):
        if str(variables.get(name)) != delivery.port:
            yield "Compose lets .env choose the port"
    if f"server app:{delivery.port};" not in delivery.nginx:
        yield "nginx connects to another"
    published = {entry.rpartition(":")[2] for entry in delivery.services["nginx"]["ports"]}
    if published != set(re.findall(r"listen (\d+)", delivery.nginx)):
        yield "nginx listens on another than is published"


@rule_of_image(
    faults(
        "standard",
        DOCKERFILE,
        ("GRACEFUL_SHUTDOWN=8", "GRACEFUL_SHUTDOWN=10"),
    ),
)
def shutdown_ends_before_docker_kills(delivery: Delivery) -> Iterator[str]:
    if int(delivery.image_variables["UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN"]) >= STOP_GRACE:
        yield "they would not"
