"""The generalist beside policies that were tuned on the service: days, violations, capacity and start-up.

    python -m benchmarks.generalist wnd wnd:cores=23 wnd:cpu=1.3 wnd:accelerator=2 [--days 3] [--json]

A service is a preset, or one with other `cores`, or one whose core or accelerator takes that many times the profile's
time: the generalist is given the profile, the others are tuned on what is true.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import numpy as np
import typer

from deeprec_env import Scenario, console, load_scenario
from deeprec_env.analysis.day import day_of
from deeprec_env.envs import ServingEnv
from deeprec_env.errors import InputError
from deeprec_env.policies.adaptive.generalist import GeneralistPolicy
from deeprec_env.policies.base import TunedPolicy, fixed
from deeprec_env.policies.evaluation.day_metrics import day_metrics, geometric_mean
from deeprec_env.policies.evaluation.episodes import run_policy
from deeprec_env.policies.evaluation.policy_capacity import capacity_queries, policy_capacities
from deeprec_env.policies.fixed.tune import TuneOptions, tune
from deeprec_env.policies.registry import prepare
from deeprec_env.scenario.schema import Capacity
from deeprec_env.scenario.setting import Setting

QUERIES, CAPACITY_SEEDS = 4000, 2
_POOLS = ("cpu", "accelerator")


def profiled_and_true(service: str) -> tuple[Scenario, Scenario]:
    """The service as its profile has it and as it is, both with the day, and the unit of rates, of the true one."""
    name, *changes = service.split(":")
    preset = load_scenario(name)
    if not changes:
        return preset, preset
    data = preset.model_dump(mode="json")
    data |= {"capacity": None, "workload": data["workload"] | {"arrivals": {"kind": "poisson", "qps": 1}}}
    for change in changes:
        what, _, value = change.partition("=")
        if what == "cores":
            data["node"]["cpu"]["servers"] = int(value)
    profiled = load_scenario(data)
    for change in changes:
        what, _, value = change.partition("=")
        if what in _POOLS and data["node"].get(what):
            data["node"][what]["contention"] = {"c": [float(value), 0, 0]}
        elif what != "cores":
            raise InputError("service", service, "must be NAME[:cores=N][:cpu=TIMES][:accelerator=TIMES]")
    true = load_scenario(data)
    found = tune(true, "grid-capacity", TuneOptions(queries=2000))
    best = found.tuned.setting
    capacity = Capacity(
        qps=found.capacity.qps, batch_size=best.batch_size, threshold=best.threshold, found_by="grid-capacity"
    )
    true = day_of(true, capacity)
    assert profiled.node is not None
    return true.replace(node=profiled.node), true


def measure(prepared: TunedPolicy, days: int) -> dict[str, Any]:
    """Test days, and capacities on the first seeds."""
    env = ServingEnv(prepared.scenario)
    found = [day_metrics(run_policy(env, prepared.policy, seed, "test"), prepared.scenario) for seed in range(days)]
    queries = capacity_queries(prepared.scenario, QUERIES)
    return {
        "p95": geometric_mean([day.p95_hourly_s for day in found]),
        "violations": float(np.mean([day.violation_rate for day in found])),
        "capacity": float(np.mean(policy_capacities(prepared, range(CAPACITY_SEEDS), queries=queries))),
    }


def compare(service: str, days: int) -> dict[str, Any]:
    """One service: the generalist's day, violations and capacity beside the others', and what it costs to start."""
    profiled, true = profiled_and_true(service)
    assert true.capacity is not None
    options = TuneOptions(queries=QUERIES)
    table, sched = (
        measure(prepare(name, true, options, lambda words: None), days) for name in ("load-table", "deeprecsched")
    )
    best = measure(fixed(true, Setting(true.capacity.batch_size, true.capacity.threshold)), days)
    begun = time.perf_counter()
    policy = GeneralistPolicy(profiled)
    policy.first()
    start_ms = 1e3 * (time.perf_counter() - begun)
    own = measure(TunedPolicy(policy, true, 0), days)
    return {
        "service": service,
        "of_load_table": own["p95"] / table["p95"],
        "of_deeprecsched": own["p95"] / sched["p95"],
        "violations_more": own["violations"] - table["violations"],
        "capacity_of_grid": own["capacity"] / best["capacity"],
        "load_table_capacity_of_grid": table["capacity"] / best["capacity"],
        "start_ms": start_ms,
    }


def main(
    services: Annotated[list[str], typer.Argument(help="NAME[:cores=N][:cpu=TIMES][:accelerator=TIMES] ...")],
    days: Annotated[int, typer.Option(help="Test days.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare the generalist with what was tuned on every service."""
    rows = [compare(service, days) for service in services]
    if json:
        console.print_json({"services": rows})
        return
    cells = [
        [row["service"], *(f"{value:.3f}" for value in list(row.values())[1:-1]), f"{row['start_ms']:.0f}"]
        for row in rows
    ]
    console.print_table("The generalist", [name.replace("_", " ") for name in rows[0]], cells)


app = console.application("The generalist beside policies that were tuned on the service.")
app.command()(main)

if __name__ == "__main__":
    console.run(app, "benchmarks.generalist")
