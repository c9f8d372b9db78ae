"""nginx, as the Compose stack has it in front of the application."""

import re
from collections.abc import Iterator

from tests.deploy.delivery import Delivery
from tests.deploy.rule import DOCKERFILE, NGINX, faults, rule_of_image


@rule_of_image(
    faults(
        "standard",
        DOCKERFILE,
        ("KEEP_ALIVE=75", "KEEP_ALIVE=5"),
    ),
    faults(
        "standard",
        NGINX,
        ("        keepalive_timeout 60s;", "        keepalive_timeout 90s;"),
        ("        keepalive_timeout 60s;\n", ""),
    ),
)
def upstream_keeps_connections_longer_than_nginx(delivery: Delivery) -> Iterator[str]:
    kept = int(delivery.image_variables["UVICORN_TIMEOUT_KEEP_ALIVE"])
    (upstream,) = re.findall(r"upstream app \{(.*?)\}", delivery.nginx, re.DOTALL)
    for seconds in re.findall(r"keepalive_timeout (\d+)s;", upstream) or ["none"]:
        if seconds == "none" or kept <= int(seconds):
            yield f"nginx keeps them for {seconds} s, the server for {kept} s"


@rule_of_image(
    faults(
        "standard",
        NGINX,
        ("client_max_body_size 1m", "client_max_body_size 8m"),
    ),
)
def body_limit_is_that_of_the_application(delivery: Delivery) -> Iterator[str]:
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;", delivery.nginx)
    limit = int(delivery.application.settings.get("MAX_BODY_BYTES", 1024 * 1024))
    if int(megabytes) * 1024 * 1024 != limit:
        yield f"{megabytes} MiB, not {limit} bytes"


@rule_of_image(
    faults(
        "standard",
        NGINX,
        ("ssl_protocols TLSv1.2", "ssl_protocols TLSv1 TLSv1.2"),
        ("listen 8443 ssl;", "listen 8443 ssl;\n        listen 8080;"),
    ),
)
def only_current_versions_of_tls(delivery: Delivery) -> Iterator[str]:
    if re.findall(r"ssl_protocols (.+);", delivery.nginx) != ["TLSv1.2 TLSv1.3"]:
        yield "other versions"
    for port in re.findall(r"listen ([^;]+);", delivery.nginx):
        if not port.endswith(" ssl"):
            yield f"plain HTTP on {port}"
