"""Paired rounds: both servers in turn, so that what else the machine does meets both alike."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from bench.load import Request, Sample, load
from bench.servers import Server

WARM_UP_SECONDS = 0.3


@dataclass(frozen=True)
class Measured:
    sample: Sample
    cpu_seconds: float
    """What the server's process used."""

    @property
    def rate(self) -> float:
        return self.sample.rate

    @property
    def cpu_per_answer(self) -> float:
        return self.cpu_seconds / len(self.sample.latencies)

    @property
    def busy(self) -> float:
        """The part of its core that the server used: 1 when it, and nothing else, set the pace."""
        return self.cpu_seconds / self.sample.seconds


@dataclass(frozen=True)
class Comparison:
    """Rounds, each with what was measured of each server."""

    rounds: list[dict[str, Measured]]

    def median(self, name: str, figure: Callable[[Measured], float]) -> float:
        return median(figure(each[name]) for each in self.rounds)

    def shares(self) -> list[float]:
        """The application's requests a second as a share of the floor's, the lowest first."""
        return sorted(each["app"].rate / each["floor"].rate for each in self.rounds)

    def cpu_share(self) -> float:
        """The same by the processor time of an answer, which a busy machine disturbs less."""
        return median(
            each["floor"].cpu_per_answer / each["app"].cpu_per_answer for each in self.rounds
        )


async def compare(
    servers: Mapping[str, Server], request: Request, *, clients: int, rounds: int, seconds: float
) -> Comparison:
    """Measure each server in each round; every other round goes the other way round."""
    for server in servers.values():
        await load(server.port, request, clients=clients, seconds=WARM_UP_SECONDS)
    return Comparison(
        [
            {name: await _measure(servers[name], request, clients, seconds) for name in order}
            for order in _orders(list(servers), rounds)
        ]
    )


def _orders(names: list[str], rounds: int) -> Iterator[list[str]]:
    for number in range(rounds):
        yield names if number % 2 == 0 else names[::-1]


async def _measure(server: Server, request: Request, clients: int, seconds: float) -> Measured:
    before = server.cpu_seconds()
    sample = await load(server.port, request, clients=clients, seconds=seconds)
    return Measured(sample, server.cpu_seconds() - before)
