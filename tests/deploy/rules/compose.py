"""The Compose stack: networks, privileges, secrets, the order of starting."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.deploy.connections import AVAILABLE, per_process
from tests.deploy.delivery import Delivery
from tests.deploy.rule import COMPOSE, faults, rule_of_image


@rule_of_image(
    faults(
        "production",
        COMPOSE,
        ("127.0.0.1:8025:8025", "8025:8025"),
        ("    image: postgres:18\n", '    image: postgres:18\n    ports: ["5432:5432"]\n'),
    ),
)
def only_nginx_and_the_mailbox_are_published(delivery: Delivery) -> Iterator[str]:
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


@rule_of_image(
    faults(
        "production",
        COMPOSE,
        (":?python -m app keys generate makes one}", ":-c2VjcmV0}"),
        (":?choose one, of letters and digits}@", ":-postgres}@"),
        ("${POSTGRES_PASSWORD:?choose one, of letters and digits}@", "postgres@"),
        ("${POSTGRES_PASSWORD:?choose one, of letters and digits}\n", "${POSTGRES_PASSWORD:-x}\n"),
        ("redis://redis", "redis://:secret@redis"),
    ),
    faults(
        "in-memory",
        COMPOSE,
        (":?python -m app api-keys create makes one}", ":-c2VjcmV0}"),
        (":?openssl rand -hex 32 makes one}", ":-c2VjcmV0}"),
    ),
)
def secrets_come_from_the_environment(delivery: Delivery) -> Iterator[str]:
    secrets = {*delivery.application.secrets, "POSTGRES_PASSWORD"}
    for name, service in delivery.services.items():
        for variable, value in service.get("environment", {}).items():
            if variable in secrets and not _without_secret(str(value)):
                yield f"{name}: {variable}"


@rule_of_image(
    faults(
        "kubernetes",
        COMPOSE,
        ("${SMTP_HOST:?your mail server", "mailpit #"),
        ("${PUBLIC_URL:-https://localhost:${HTTPS_PORT:-8443}}", "https://localhost"),
        ("ENVIRONMENT: production", "ENVIRONMENT: ${ENVIRONMENT:-staging}"),
        ("    env_file: *env_file\n    environment:\n", "    environment:\n"),
        ("      DATABASE_URL: *database_url\n", "      <<: *settings\n"),
        ("    command: [alembic", "    env_file: *env_file\n    command: [alembic"),
        ("    network_mode: none\n", "    network_mode: none\n    env_file: *env_file\n"),
    ),
)
def settings_come_from_the_env_file(delivery: Delivery) -> Iterator[str]:
    """From `.env`, but for those that follow from the other services."""
    fixed = {
        "DATABASE_URL",
        "ENVIRONMENT",
        "FORWARDED_ALLOW_IPS",
        "PORT",
        "RATE_LIMIT_STORAGE_URI",
        "UVICORN_PORT",
    }
    if not delivery.has_postgresql:
        fixed.add("WEB_CONCURRENCY")
    for name, service in delivery.services.items():
        env_file = [{"path": ".env", "required": False}] if name == "app" else None
        if service.get("env_file") != env_file:
            yield f"{name} does not read .env, or should not"
        variables = service.get("environment", {})
        for variable, value in variables.items() if name == "app" else ():
            if variable not in fixed and not str(value).startswith(f"${{{variable}:"):
                yield f"{name} sets {variable} itself"
        if name == "migrate" and set(variables) != {"ENVIRONMENT", "DATABASE_URL"}:
            yield "a migration has more than the database"
        if name in {"app", "migrate"} and variables["ENVIRONMENT"] != "production":
            yield f"{name} may start half configured"


@rule_of_image(
    faults(
        "production",
        COMPOSE,
        ("${SMTP_HOST:?your mail server", "${SMTP_HOST:-mailpit"),
        ("    profiles: [mailpit]\n", ""),
    ),
)
def mail_reaches_the_mailbox_only_when_asked(delivery: Delivery) -> Iterator[str]:
    """It shows everyone's mail, with the links that reset passwords, to anyone on the machine."""
    for name, service in delivery.services.items():
        if name == "mailpit" and "profiles" not in service:
            yield "the mailbox always starts"
        host = service.get("environment", {}).get("SMTP_HOST")
        if host is not None and not host.startswith("${SMTP_HOST:?"):
            yield f"{name} starts without a mail server"


@rule_of_image(
    faults(
        "production",
        COMPOSE,
        ("    image: postgres:18\n    logging: *logging\n", "    image: postgres:18\n"),
        ("    image: nginx:1.30-alpine\n    logging: *logging\n", "    image: nginx:1.30-alpine\n"),
        ("-}\n  logging: *logging\n", "-}\n"),
        ("    max-size: 10m\n", ""),
        ('    max-file: "5"\n', ""),
    ),
)
def logs_are_rotated(delivery: Delivery) -> Iterator[str]:
    for name, service in delivery.services.items():
        options = service.get("logging", {}).get("options", {})
        if not {"max-size", "max-file"} <= set(options):
            yield f"{name} fills the disk"


@rule_of_image(
    faults(
        "production",
        COMPOSE,
        ("condition: service_healthy", "condition: service_started"),
        ("      migrate:\n        condition: service_completed_successfully\n", ""),
        ("    command: [alembic", "    restart: always\n    command: [alembic"),
        ("      test: [CMD, pg_isready", "      tests: [CMD, pg_isready"),
    ),
)
def services_wait_for_their_dependencies(delivery: Delivery) -> Iterator[str]:
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


@rule_of_image(
    faults(
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
)
def containers_are_sandboxed(delivery: Delivery) -> Iterator[str]:
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


@rule_of_image(
    faults(
        "production",
        COMPOSE,
        ("internal: true", "internal: false"),
        ("networks: [backend]\n    restart", "networks: [edge, backend]\n    restart"),
    ),
)
def database_and_redis_have_no_internet_access(delivery: Delivery) -> Iterator[str]:
    for name in {"postgres", "redis"} & set(delivery.services):
        if delivery.services[name]["networks"] != ["backend"]:
            yield name
        if not delivery.yaml("compose.yaml")["networks"]["backend"]["internal"]:
            yield "the network is open"


def _default(value: object) -> str:
    """What Compose takes when the variable is not set."""
    return re.sub(r"\$\{\w+:-([^{}]*)\}", r"\1", str(value))


@rule_of_image(
    faults(
        "production",
        COMPOSE,
        ("WEB_CONCURRENCY:-2", "WEB_CONCURRENCY:-8"),
    ),
    faults(
        "standard",
        COMPOSE,
        ("WEB_CONCURRENCY: 1", "WEB_CONCURRENCY: 2"),
    ),
)
def pools_fit_the_database(delivery: Delivery) -> Iterator[str]:
    settings = delivery.services["app"]["environment"]
    workers = int(_default(settings["WEB_CONCURRENCY"]))
    if delivery.has_postgresql:
        needed = workers * per_process(settings, delivery.application) + 1
        if needed > AVAILABLE:
            yield f"{needed} connections"
    elif workers != 1:
        yield "what one process holds, another does not see"
