"""What users' kinds draw and answer is checked where it enters: each of these runs gave a p95 before."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deeprec_env import InputError, load_scenario, simulate
from deeprec_env.scenario.parts import ArrivalProcess, ArrivalTimes, Floats, Ints, LatencyModel, SizeDistribution
from deeprec_env.workload.stream import QueryStream, episode_seed
from tests.test_cli import call

HERE = __name__
ARRIVALS: dict[str, Callable[[Floats], Any]] = {
    "right": lambda times_s: times_s,
    "descending": lambda times_s: times_s[::-1],
    "negative": lambda times_s: times_s - 1.0,
    "nan": lambda times_s: np.where(times_s > 0.5, math.nan, times_s),
    "infinite": lambda times_s: np.append(times_s[:-1], math.inf),
    "few": lambda times_s: times_s[:-1],
    "square": lambda times_s: times_s[:, None],
    "again": lambda times_s: times_s - times_s[0],  # each block begins anew
}
SIZES: dict[str, Callable[[Ints], Any]] = {
    "right": lambda items: items,
    "whole": lambda items: items.astype(np.float64),
    "none": lambda items: items * 0,
    "half": lambda items: items + 0.5,
    "nan": lambda items: items * math.nan,
    "huge": lambda items: items * 10**10,
    "few": lambda items: items[1:],
}
SECONDS: dict[str, Callable[[Floats], Any]] = {
    "right": lambda seconds: seconds,
    "one": lambda seconds: 1e-3,
    "negative": lambda seconds: -seconds,
    "nan": lambda seconds: seconds * math.nan,
    "infinite": lambda seconds: seconds * math.inf,
    "few": lambda seconds: seconds[1:],
}


class Arrivals(ArrivalProcess):
    how: str = "right"
    rate_qps: float = 100.0

    @property
    def mean_qps(self) -> float:
        return self.rate_qps

    def open(self, gaps: np.random.Generator, bursts: np.random.Generator) -> ArrivalTimes:
        done = 0

        def draw(count: int) -> Floats:
            nonlocal done
            done += count
            return ARRIVALS[self.how](np.arange(done - count, done) / 100.0)  # type: ignore[no-any-return]

        return draw


class Sizes(SizeDistribution):
    how: str = "right"
    share: float = 1.0
    items: int = 2

    def draw(self, rng: np.random.Generator, count: int) -> Ints:
        return SIZES[self.how](np.full(count, 2))  # type: ignore[no-any-return]

    def probabilities(self) -> tuple[Ints, Floats]:
        return np.array([self.items]), np.array([self.share])


class Latency(LatencyModel):
    how: str = "right"
    mean: str = "right"

    def base_s(self, items: Ints, u: Floats) -> Floats:
        return SECONDS[self.how](items * 1e-3)  # type: ignore[no-any-return]

    def mean_s(self, items: Ints) -> Floats:
        return SECONDS[self.mean](items * 1e-3)  # type: ignore[no-any-return]


def scenario(part: str, **parameters: Any) -> dict[str, Any]:
    parts: dict[str, dict[str, Any]] = {name: {"kind": f"{HERE}:{name}"} for name in ("Arrivals", "Sizes", "Latency")}
    parts[part] |= parameters
    return {
        "sla_ms": 10,
        "workload": {"arrivals": parts["Arrivals"], "sizes": parts["Sizes"]},
        "node": {"cpu": {"servers": 2, "latency": parts["Latency"]}},
    }


@pytest.mark.parametrize("engine", ["compiled", "asyncio"])
@pytest.mark.parametrize("right", [("Arrivals", "right"), ("Sizes", "whole"), ("Latency", "one")])
def test_right_ones_run(right: tuple[str, str], engine: str) -> None:
    result = simulate(scenario(right[0], how=right[1]), queries=1500, engine=engine)
    assert result.to_json()["latency_ms"]["p95"] == pytest.approx(1.0 if right[1] == "one" else 2.0)


WRONG = [
    ("Arrivals", {"how": "descending"}, r"Arrivals: got \S+; must be finite seconds from 0 on, ascending"),
    ("Arrivals", {"how": "negative"}, r"Arrivals: got -1\.0; must be finite seconds"),
    ("Arrivals", {"how": "nan"}, r"Arrivals: got nan; must be finite .*the one before: 0\.5"),
    ("Arrivals", {"how": "infinite"}, r"Arrivals: got inf; must be finite"),
    ("Arrivals", {"how": "few"}, r"Arrivals: got 'shape \(1499,\)'; must be one time for each of 1500"),
    ("Arrivals", {"how": "square"}, r"Arrivals: got 'shape \(1500, 1\)'"),
    ("Arrivals", {"rate_qps": 0.0}, r"Arrivals, mean_qps: got 0\.0; must be a finite rate above 0"),
    ("Sizes", {"how": "none"}, r"Sizes: got 0; must be whole numbers of items from 1 to"),
    ("Sizes", {"how": "half"}, r"Sizes: got 2\.5"),
    ("Sizes", {"how": "nan"}, r"Sizes: got nan"),
    ("Sizes", {"how": "huge"}, r"Sizes: got 20000000000"),
    ("Sizes", {"how": "few"}, r"Sizes: got 'shape \(1499,\)'; must be one size for each of 1500"),
    ("Sizes", {"share": 0.4}, r"Sizes, probabilities: got 0\.4; must sum to 1"),
    ("Sizes", {"items": 0}, r"Sizes, probabilities: got \[0\]; must be of sizes from 1"),
    ("Latency", {"how": "negative"}, r"Latency, base_s: got -0\.002; must be finite seconds of at least 0 \(2 items\)"),
    ("Latency", {"how": "nan"}, r"Latency, base_s: got nan"),
    ("Latency", {"how": "infinite"}, r"Latency, base_s: got inf"),
    ("Latency", {"how": "few"}, r"Latency, base_s: got 'shape \(\d+,\)'; must be one number for each of \d+ requests"),
    ("Latency", {"mean": "negative"}, r"Latency, mean_s: got -0\.002"),
]


@pytest.mark.parametrize("engine", ["compiled", "asyncio"])
@pytest.mark.parametrize(("part", "parameters", "message"), WRONG)
def test_wrong_ones_are_named(part: str, parameters: dict[str, Any], message: str, engine: str) -> None:
    with pytest.raises(InputError, match=rf"of kind {HERE}:{message}"):
        simulate(scenario(part, **parameters), queries=1500, engine=engine)


def test_the_command_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    kind = f"workload.arrivals={{kind: '{HERE}:Arrivals', how: descending}}"
    status, out, err = call(capsys, "simulate", "wnd", "--set", kind, "--queries", 2000)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"arrivals of kind {HERE}:Arrivals: got" in err


def test_blocks_must_ascend_too() -> None:
    stream = QueryStream(load_scenario(scenario("Arrivals", how="again")).workload, episode_seed(0))
    stream.draw(10)
    with pytest.raises(InputError, match=r"got 0\.0; .*the one before: 0\.09"):
        stream.draw(10)


def test_sizes_inside_others_are_checked() -> None:
    drifting = {"kind": "drifting", "before": {"kind": f"{HERE}:Sizes", "how": "none"}, "after": {"kind": "mlperf"}}
    data = scenario("Latency")
    data["workload"]["sizes"] = drifting
    with pytest.raises(InputError, match="Sizes: got 0; must be whole"):
        simulate(data, queries=1500)
