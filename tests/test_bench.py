"""The benchmark compares things that do the same. How fast they are is for no test to say."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from urllib.request import Request, urlopen

import pytest

from bench.load import UnexpectedAnswerError, load
from bench.measure import compare
from bench.scenario import FLOORS, ITEMS, Scenario, scenario
from bench.servers import Cores, Server

ROWS = 3


@pytest.fixture(
    scope="module",
    params=[pytest.param(auth, marks=pytest.mark.xdist_group(f"bench-{auth}")) for auth in FLOORS],
)
def compared(request: pytest.FixtureRequest) -> Iterator[Scenario]:
    with scenario(auth=request.param, rows=ROWS, cores=Cores([], [])) as compared:
        yield compared


def get(server: Server, path: str, headers: Mapping[str, str]) -> object:
    url = f"http://127.0.0.1:{server.port}{path}"
    with urlopen(Request(url, headers=dict(headers)), timeout=10) as answer:
        return json.load(answer)


@pytest.mark.parametrize("query", ["limit=2", f"skip={ROWS}"])
def test_application_and_floor_list_the_same(compared: Scenario, query: str) -> None:
    headers = compared.requests["list"].headers

    app, floor = (get(each, f"{ITEMS}?{query}", headers) for each in compared.servers.values())

    # The floor has no cursors.
    assert isinstance(app, dict)
    assert isinstance(floor, dict)
    assert {name: app[name] for name in floor} == floor


@pytest.mark.parametrize("route", ["list", "create"])
def test_every_route_is_measured_on_both(compared: Scenario, route: str) -> None:
    request = compared.requests[route]

    found = asyncio.run(compare(compared.servers, request, clients=2, rounds=2, seconds=0.1))

    assert [list(each) for each in found.rounds] == [["app", "floor"], ["floor", "app"]]
    assert all(each.sample.latencies for both in found.rounds for each in both.values())


@pytest.mark.parametrize("name", ["app", "floor"])
def test_an_unexpected_answer_ends_the_measurement(compared: Scenario, name: str) -> None:
    refused = replace(compared.requests["list"], path=f"{ITEMS}?limit=0")

    with pytest.raises(UnexpectedAnswerError, match=" 422 "):
        asyncio.run(load(compared.servers[name].port, refused, clients=1, seconds=0.1))
