"""How often the interval of `find_capacity` covers the value, over many seeds, and what a search takes.

    python -m benchmarks.capacity_coverage [SCENARIO ...] [--repeats 100] [--json]

Each repeat is a search with a seed of its own, at the scenario's settings in force at the start. The value is that of a
search on other traffic with 4,000 longer replications: over 50 times the queries of a rate.
At 95 % confidence 90 to 99 of 100 intervals should cover.
"""

from __future__ import annotations

import statistics
import time
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.analysis.capacity import PERCENTILE, PRECISION, find_capacity, rate_limit
from deeprec_env.analysis.estimate import QUERIES, RateEstimator, tail_rules
from deeprec_env.scenario.load import load_scenario
from deeprec_env.simulation.offered_load import service_demands
from deeprec_env.simulation.simulate import with_options

REFERENCE_SEED = 10**6
REPLICATIONS, LONGER = 4000, 4


def value(name: str) -> tuple[float, int]:
    """Capacity by many long replications, and the queries of a rate."""
    scenario = with_options(load_scenario(name), qps=1.0)
    demands = service_demands(scenario, scenario.setting)
    length = LONGER * QUERIES
    estimator = RateEstimator(
        scenario,
        demands,
        tail_rules(scenario, PERCENTILE),
        rate_limit(scenario),
        seed=REFERENCE_SEED,
        split="validation",
        queries=REPLICATIONS * length,
        precision=1e-3 * PRECISION,
        engine="compiled",
        length=length,
    )
    found = estimator.find()
    return found.qps, found.queries


def coverage(name: str, repeats: int) -> dict[str, Any]:
    """Of n seeds: the share of intervals that cover the value, their widths, bias, seconds of a search."""
    true_qps, reference_queries = value(name)
    found, seconds = [], []
    for seed in range(repeats):
        begun = time.perf_counter()
        found.append(find_capacity(name, seed=seed))
        seconds.append(time.perf_counter() - begun)
    intervals = [capacity.qps_ci or (0.0, 0.0) for capacity in found]
    queries = statistics.median(capacity.queries for capacity in found)
    return {
        "value_qps": true_qps,
        "value_queries_over_search": reference_queries / queries,
        "covered": sum(low <= true_qps <= high for low, high in intervals),
        "below": sum(high < true_qps for _, high in intervals),
        "above": sum(low > true_qps for low, _ in intervals),
        "repeats": repeats,
        "bias": statistics.mean(capacity.qps for capacity in found) / true_qps - 1.0,
        "widest_end": max(
            max(capacity.qps - low, high - capacity.qps) / capacity.qps
            for capacity, (low, high) in zip(found, intervals, strict=True)
        ),
        "search_s_median": statistics.median(seconds),
        "search_s_max": max(seconds),
    }


def main(
    scenarios: Annotated[list[str] | None, typer.Argument(help="Presets or files.")] = None,
    repeats: Annotated[int, typer.Option(help="Searches, each with its own seed.")] = 100,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Coverage of the intervals of capacity."""
    payload = {}
    for name in scenarios or ["dlrm-rmc1"]:
        with console.progress(name, None, quiet=json):
            payload[name] = coverage(name, repeats)
    (console.print_json if json else console.print_facts)(payload)


app = console.application("Coverage of the intervals of capacity.")
app.command()(main)

if __name__ == "__main__":
    console.run(app, "benchmarks.capacity_coverage")
