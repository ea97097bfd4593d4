"""`simulate_fleet`: one run of a fleet, its records and its summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from deeprec_env.arguments import choice, path
from deeprec_env.errors import InputError
from deeprec_env.fleet.load import check_carried
from deeprec_env.fleet.options import with_fleet_options
from deeprec_env.fleet.records import FleetRecords
from deeprec_env.fleet.result import FleetResult
from deeprec_env.provenance import ask
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.checks import check_queries, check_run_memory
from deeprec_env.simulation.engines import ENGINES
from deeprec_env.simulation.records import check_records_path, open_records
from deeprec_env.simulation.simulate import MOST_KEPT, QUERIES
from deeprec_env.simulation.summary import warmup_queries
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed


def simulate_fleet(
    scenario: str | Path | Mapping[str, Any] | Scenario,
    *,
    queries: int = QUERIES,
    seed: int = 0,
    split: str = "train",
    engine: str = "compiled",
    records: str | Path | None = None,
    progress: Callable[[int], None] = lambda queries: None,
    **options: Any,
) -> FleetResult:
    """Run a scenario with a `fleet` for `queries` arrivals and until all have completed.

    `options` are those of `simulate` that change traffic and settings (`qps`, `arrivals`, `batch_size`, `threshold`,
    `split_rule`, `order`, `offload`, `admit`); a setting is that of all groups. The other arguments are as there. Of
    more than `MOST_KEPT` queries the compiled engine keeps no records: it streams them in bounded memory, into the file
    where there is one. Raises `InputError` for bad input, and for a fleet that can't carry the load.
    """
    chosen = load_scenario(scenario)
    if chosen.fleet is None:
        raise InputError("fleet", None, "is needed: simulate runs a node or pipeline")
    chosen = with_fleet_options(chosen, **options)
    queries = check_queries(queries)
    if records is not None:
        check_records_path(path("records", records))
    seeds = episode_seed(seed, split)
    choice("engine", engine, ENGINES)
    check_carried(chosen)
    question = ask(
        "simulate", chosen, seed=seed, split=split, engine=engine, queries=queries, records=records is not None
    )
    if queries > MOST_KEPT and engine == "compiled":
        from deeprec_env.fleet.streaming import stream_fleet

        found = stream_fleet(chosen, seeds, queries, progress, None if records is None else Path(records))
        return replace(found, question=question)
    for group in chosen.group_scenarios:
        check_run_memory(group, queries)
    traffic = QueryStream(chosen.workload, seeds).draw(queries)
    result = summarise_fleet(chosen, traffic, run_fleet(chosen, traffic, engine))
    if records is not None:
        assert result.records is not None
        with open_records(Path(records), result.warmup) as file:
            file.add(result.records.whole, result.records.columns())
    return replace(result, question=question)


def run_fleet(scenario: Scenario, traffic: Traffic, engine: str = "compiled") -> FleetRecords:
    """Records of the traffic under the groups' settings, every query completed."""
    if engine == "asyncio":
        from deeprec_env.fleet.asyncio_engine import run_asyncio

        return run_asyncio(scenario, traffic)
    from deeprec_env.fleet.compiled_engine import CompiledFleet  # Numba is loaded with the first run

    return CompiledFleet(scenario).run(traffic)


def summarise_fleet(scenario: Scenario, traffic: Traffic, records: FleetRecords) -> FleetResult:
    """The summary of a run."""
    from deeprec_env.fleet.meter import FleetMeter
    from deeprec_env.fleet.summary import Latencies, summarise

    count = len(traffic.items)
    warmup = warmup_queries(count)
    begin_s, end_s = float(traffic.arrival_s[warmup]), float(traffic.arrival_s[-1])
    meter = FleetMeter(scenario, warmup, begin_s, end_s)
    meter.add(records, 0)
    latencies = Latencies.of_records(scenario, records, warmup)
    result = summarise(scenario, count, warmup, end_s - begin_s, latencies, meter, traffic.sha256())
    return replace(result, records=records)
