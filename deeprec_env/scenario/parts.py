"""The three sorts of component that a scenario is made of; workload/ and latency/ hold their kinds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, SerializeAsAny

from deeprec_env.errors import InputError
from deeprec_env.scenario.component import Component, Registry

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ArrivalTimes = Callable[[int], Floats]
"""Draws the next `count` arrival times in seconds, ascending, going on where the last call ended."""


RateOverTime = Callable[[Floats], Floats]
"""The expected rate in queries a second at each of some times in seconds."""


class ArrivalProcess(Component, ABC):
    """When queries arrive."""

    @property
    @abstractmethod
    def mean_qps(self) -> float:
        """Long-run mean rate in queries a second."""

    @abstractmethod
    def open(self, gaps: np.random.Generator, bursts: np.random.Generator) -> ArrivalTimes:
        """Start a stream of arrival times, drawn from the two generators and nothing else."""

    def rate(self, bursts: np.random.Generator) -> RateOverTime:
        """The expected rate of the stream that `open` starts with `bursts` in the same state; here the mean rate."""
        return lambda times_s: np.full(len(times_s), self.mean_qps)

    def at_rate(self, qps: float) -> ArrivalProcess:
        """A copy of the process at another mean rate; `InputError` for one that is not stationary, as here."""
        able = [kind for kind in ARRIVALS.kinds() if ARRIVALS.component(kind).at_rate is not ArrivalProcess.at_rate]
        raise InputError("arrivals.kind", self.kind, f"is not stationary; at a rate must be one of {', '.join(able)}")


class SizeDistribution(Component, ABC):
    """How many items a query has."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, count: int) -> Ints:
        """`count` sizes, each at least 1, independent of what was drawn before."""

    def open(self, rng: np.random.Generator) -> Callable[[int], Ints]:
        """Start a stream of sizes: draws the next `count`, whatever the blocks. Sizes with an order override it."""
        return lambda count: self.draw(rng, count)

    @property
    def fingerprint(self) -> str:
        """A text that differs where sizes differ."""
        return self.model_dump_json()

    def stationary(self) -> SizeDistribution:
        """Sizes of the same long-run probabilities without any order in time: itself, where there is none."""
        return self

    @abstractmethod
    def probabilities(self) -> tuple[Ints, Floats]:
        """The sizes that can occur, ascending, and the probability of each."""

    @property
    def mean_items(self) -> float:
        """Mean size in items."""
        items, probability = self.probabilities()
        return float(items @ probability)


class LatencyModel(Component, ABC):
    """How long a server takes for one request, alone on the machine."""

    @property
    def label(self) -> str:
        """What results call it."""
        return self.kind

    @property
    def fingerprint(self) -> str:
        """A text that differs where latencies differ."""
        return self.model_dump_json()

    def at_threads(self, threads: int) -> LatencyModel:
        """The model for servers of n threads; `InputError` if it knows no such latency. Here: of one thread."""
        if threads != 1:
            raise InputError("threads", threads, f"must be 1: latency of kind {self.kind} is not known at several")
        return self

    def warn_beyond(self, items: int) -> None:
        """Called with the largest request to come, for a model that would say that it is not made for it."""

    @abstractmethod
    def base_s(self, items: Ints, u: Floats) -> Floats:
        """Seconds for requests of `items` items, at noise `u` in (0, 1): the quantile function, elementwise."""

    @abstractmethod
    def mean_s(self, items: Ints) -> Floats:
        """Mean seconds for requests of `items` items, elementwise."""


ARRIVALS: Registry[ArrivalProcess] = Registry(ArrivalProcess, "arrivals", "deeprec_env.arrivals")  # type: ignore[type-abstract]
SIZES: Registry[SizeDistribution] = Registry(SizeDistribution, "sizes", "deeprec_env.sizes")  # type: ignore[type-abstract]
LATENCIES: Registry[LatencyModel] = Registry(LatencyModel, "latency", "deeprec_env.latencies")  # type: ignore[type-abstract]

AnyArrivals = Annotated[SerializeAsAny[ArrivalProcess], BeforeValidator(ARRIVALS.build)]
AnySizes = Annotated[SerializeAsAny[SizeDistribution], BeforeValidator(SIZES.build)]
AnyLatency = Annotated[SerializeAsAny[LatencyModel], BeforeValidator(LATENCIES.build)]
