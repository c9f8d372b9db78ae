"""The function on Vercel."""

import re
from collections.abc import Iterator

from tests.deploy.connections import AVAILABLE, per_process
from tests.deploy.delivery import Delivery
from tests.deploy.rule import DOCUMENT, faults, rule


@rule(
    faults(
        "serverless",
        "vercel.json",
        ('"app/main.py"', '"api/index.py"'),
        ("scripts,tests}", "app,tests}"),
        ('"git"', '"github"'),
        ('"fastapi"', '"flask"'),
    ),
    faults(
        "serverless",
        "pyproject.toml",
        ("app.main:app", "app:app"),
    ),
)
def application_is_the_entrypoint(delivery: Delivery) -> Iterator[str]:
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


@rule(
    faults(
        "serverless",
        DOCUMENT,
        ("enough for 16", "enough for 20"),
        ("`DATABASE_POOL_RECYCLE=300`", "`DATABASE_POOL_RECYCLE`"),
        ("`DATABASE_MAX_OVERFLOW=3`", "`DATABASE_MAX_OVERFLOW=10`"),
    ),
    faults(
        "serverless-gitlab",
        DOCUMENT,
        ("`DATABASE_POOL_SIZE=2`", ""),
    ),
)
def instances_open_few_connections(delivery: Delivery) -> Iterator[str]:
    if "vercel.json" not in delivery.files or not delivery.has_postgresql:
        return
    given = dict(re.findall(r"`(DATABASE_\w+)=(\d+)`", delivery.document))
    if given.keys() != {"DATABASE_POOL_SIZE", "DATABASE_MAX_OVERFLOW", "DATABASE_POOL_RECYCLE"}:
        yield str(given)
        return
    instances = AVAILABLE // per_process(given, delivery.application)
    if f"enough for {instances} at a time" not in delivery.document:
        yield f"enough for {instances}"
