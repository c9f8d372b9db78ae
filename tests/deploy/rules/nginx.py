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
        ("                return 308 https://$host$request_uri;\n", ""),
        ("listen 8080;", "listen 8080;\n        listen 8081;"),
    ),
)
def only_current_versions_of_tls(delivery: Delivery) -> Iterator[str]:
    if re.findall(r"ssl_protocols (.+);", delivery.nginx) != ["TLSv1.2 TLSv1.3"]:
        yield "other versions"
    # Plain HTTP is only for the redirect, which a test sees.
    redirect = (
        r"location / \{\s+if \(\$scheme = http\) \{\s+return 308 https://\$host\$request_uri;"
    )
    if not re.search(redirect, delivery.nginx):
        yield "plain HTTP is not redirected"
    if re.findall(r"listen ([^;]+);", delivery.nginx) != ["8080", "8443 ssl http2"]:
        yield "other ports, or without HTTP/2"


@rule_of_image(
    faults(
        "standard",
        NGINX,
        ("client_header_timeout 5s", "client_header_timeout 60s"),
        ("    client_body_timeout 10s;\n", ""),
        ("    send_timeout 10s;\n", ""),
        ("        limit_conn connections 100;\n", ""),
        ("        limit_req zone=requests burst=100 nodelay;\n", ""),
        ("worker_connections 4096", "worker_connections 512"),
        ("worker_rlimit_nofile 10240", "worker_rlimit_nofile 4096"),
        ("http2_max_concurrent_streams 64", "http2_max_concurrent_streams 1024"),
    ),
)
def clients_are_limited(delivery: Delivery) -> Iterator[str]:
    """How long they may take, and how much they may hold; tests of nginx see the effect."""
    longest = {"client_header_timeout": 5, "client_body_timeout": 10, "send_timeout": 10}
    for directive, seconds in longest.items():
        found = re.findall(rf"^ *{directive} (\d+)s;", delivery.nginx, re.MULTILINE)
        if not found or int(found[0]) > seconds:
            yield directive
    if not re.search(r"limit_req zone=requests .+;\s+limit_conn connections \d+;", delivery.nginx):
        yield "a client may take all connections"
    numbers = {name: int(number) for name, number in re.findall(r"(\w+) (\d+);", delivery.nginx)}
    if numbers["worker_connections"] < 4096:
        yield "a few thousand unfinished handshakes take all connections"
    if numbers["worker_rlimit_nofile"] < 2 * numbers["worker_connections"]:
        yield "connections run out of files"
    if numbers["http2_max_concurrent_streams"] > 128:
        yield "a connection of HTTP/2 may hold more requests than nginx has by default"
