"""The function on Vercel."""

import re
from collections.abc import Iterator

from tests.deploy.connections import AVAILABLE, per_process
from tests.deploy.delivery import Delivery
from tests.deploy.rule import DOCUMENT, GITHUB, GITLAB, faults, rule


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
        GITHUB,
        ("--env DATABASE_POOL_SIZE=2 ", ""),
        ("DATABASE_MAX_OVERFLOW=3", "DATABASE_MAX_OVERFLOW=10"),
    ),
    faults(
        "serverless-gitlab",
        GITLAB,
        ("--env DATABASE_POOL_SIZE=2 ", ""),
    ),
    faults(
        "serverless",
        DOCUMENT,
        ("enough for 16", "enough for 20"),
        ("`DATABASE_POOL_RECYCLE=300`", "`DATABASE_POOL_RECYCLE`"),
    ),
)
def instances_open_few_connections(delivery: Delivery) -> Iterator[str]:
    if "vercel.json" not in delivery.files or not delivery.has_postgresql:
        return
    places = {"document": re.findall(r"`(DATABASE_\w+)=(\d+)`", delivery.document)}
    if delivery.jobs:
        places["pipeline"] = re.findall(r"--env (DATABASE_\w+)=(\d+)", delivery.scripts)
    for place, pairs in places.items():
        given = dict(pairs)
        if given.keys() != {"DATABASE_POOL_SIZE", "DATABASE_MAX_OVERFLOW", "DATABASE_POOL_RECYCLE"}:
            yield f"{place}: {given}"
            continue
        instances = AVAILABLE // per_process(given, delivery.application)
        if f"enough for {instances} at a time" not in delivery.document:
            yield f"{place}: enough for {instances}"
