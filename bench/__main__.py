"""Compare the list and create routes of a generated project with a hand-written floor."""

import asyncio
import signal
import sys
from argparse import ArgumentParser, Namespace
from statistics import median

from bench.measure import Comparison, compare
from bench.scenario import FLOORS, scenario
from bench.servers import Cores, pin

# Title and width of each column; what follows them is said of the floor, then of the application.
COLUMNS = {
    "route": 6,
    "clients": 7,
    "share": 5,
    "min-max": 9,
    "by CPU": 6,
    "requests/s": 11,
    "p50 ms": 11,
    "p99 ms": 11,
    "core busy": 11,
}


def row(*cells: str) -> str:
    padded = zip(cells, COLUMNS.values(), strict=True)
    return "  ".join(cell.rjust(width) for cell, width in padded)


def figures(route: str, clients: int, found: Comparison) -> str:
    shares = found.shares()
    pairs = [
        [found.median(name, lambda each: each.rate) for name in ("floor", "app")],
        [found.median(name, lambda each: each.sample.percentile(50)) for name in ("floor", "app")],
        [found.median(name, lambda each: each.sample.percentile(99)) for name in ("floor", "app")],
        [found.median(name, lambda each: each.busy) for name in ("floor", "app")],
    ]
    rates, p50s, p99s, busy = pairs
    return row(
        route,
        str(clients),
        f"{median(shares):.2f}",
        f"{shares[0]:.2f}-{shares[-1]:.2f}",
        f"{found.cpu_share():.2f}",
        " ".join(f"{rate:5.0f}" for rate in rates),
        " ".join(f"{seconds * 1000:5.1f}" for seconds in p50s),
        " ".join(f"{seconds * 1000:5.1f}" for seconds in p99s),
        " ".join(f"{part:5.0%}" for part in busy),
    )


def main(arguments: Namespace) -> None:
    # So that whatever was started is stopped, whichever way this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    cores = Cores.available()
    pin(0, cores.others)
    where = "on a core of their own" if cores.servers else "on any core"
    print(f"auth={arguments.auth}, {arguments.rows} rows, servers {where};", end=" ")
    print(f"{arguments.rounds} paired rounds, {arguments.seconds} s each", flush=True)
    with scenario(auth=arguments.auth, rows=arguments.rows, cores=cores) as compared:
        print(row(*COLUMNS), flush=True)
        for route, request in compared.requests.items():
            for clients in arguments.clients:
                found = asyncio.run(
                    compare(
                        compared.servers,
                        request,
                        clients=clients,
                        rounds=arguments.rounds,
                        seconds=arguments.seconds,
                    )
                )
                print(figures(route, clients, found), flush=True)


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--auth", choices=list(FLOORS), default="none", help="who may call")
    parser.add_argument("--rounds", type=int, default=5, help="an odd number reads best")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each server in each round")
    parser.add_argument("--clients", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--rows", type=int, default=100, help="in the table at the start")
    main(parser.parse_args())
