"""The generalist beside policies that were tuned on the service: days, what is late or refused, capacity, start-up.

    python -m benchmarks.generalist wnd wnd:cores=23 wnd:cpu=1.3 wnd:accelerator=2 [--days 3] [--json]
    python -m benchmarks.generalist wnd --env serving-v2 --traffic day,flash --policies load-table,queueing,champion

A service is a preset, or one with other `cores`, or one whose core or accelerator takes that many times the profile's
time: the generalist and queueing are given the profile, the others are tuned on what is true.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import typer

from deeprec_env import Scenario, console, load_scenario
from deeprec_env.analysis.day import day_of
from deeprec_env.arguments import choice
from deeprec_env.envs.environments import SERVING_V2, find_spec
from deeprec_env.envs.serving_v2_task import with_further_ladders
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.errors import InputError
from deeprec_env.policies.adaptive.generalist import GeneralistPolicy
from deeprec_env.policies.base import TunedPolicy, fixed
from deeprec_env.policies.evaluation.day_metrics import day_metrics, geometric_mean
from deeprec_env.policies.evaluation.episodes import run_policy
from deeprec_env.policies.evaluation.evaluation import evaluation_of
from deeprec_env.policies.evaluation.policy_capacity import capacity_queries, policy_capacities
from deeprec_env.policies.evaluation.serving import TRAFFICS
from deeprec_env.policies.fixed.tune import TuneOptions, tune
from deeprec_env.policies.on_serving_v2 import on_serving_v2, without_further
from deeprec_env.scenario.schema import Capacity
from deeprec_env.scenario.setting import Setting

QUERIES, CAPACITY_SEEDS = 4000, 2
UNTUNED = ("generalist", "queueing")
"""What is given the profile."""

COLUMNS = (
    "traffic", "policy", "p95_ms", "p99_ms", "violations", "shed", "goodput_qps", "capacity_qps", "capacity_of_grid",
    "start_ms",
)  # fmt: skip
"""Of a row, in a table."""

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


def measure(spec: EnvSpec, prepared: TunedPolicy, days: int, *, capacity: bool) -> dict[str, float]:
    """Test days, and the mean capacity on the first seeds where that is asked."""
    env, scenario = spec.make(prepared.scenario), prepared.scenario
    found = [day_metrics(run_policy(env, prepared.policy, seed, "test"), scenario) for seed in range(days)]
    env.close()
    measured = {
        "p95_ms": 1e3 * geometric_mean([day.p95_hourly_s for day in found]),
        "p99_ms": 1e3 * geometric_mean([day.p99_day_s for day in found]),
        "violations": float(np.mean([day.violation_rate for day in found])),
        "shed": float(np.mean([day.shed_rate for day in found])),
        "goodput_qps": float(np.mean([day.goodput_qps for day in found])),
    }
    if capacity:
        queries = capacity_queries(scenario, QUERIES)
        capacities = policy_capacities(prepared, range(CAPACITY_SEEDS), queries=queries, make=spec.make)
        measured["capacity_qps"] = float(np.mean(capacities))
    return measured


def prepared_for(spec: EnvSpec, name: str, profiled: Scenario, true: Scenario) -> TunedPolicy:
    """A policy of the environment's by its name, to be judged on the true service."""
    evaluation, given = evaluation_of(spec), profiled if name in UNTUNED else true
    tuning = evaluation.tuning(spec, given, TuneOptions(queries=QUERIES), {}, lambda words: None)
    made: TunedPolicy = evaluation.baselines[choice("policies", name, evaluation.baselines)](tuning)
    # Those that are tuned may have settings off the ladders of the scenario, which theirs have.
    return replace(made, scenario=true) if name in UNTUNED else made


def best_fixed(spec: EnvSpec, true: Scenario) -> TunedPolicy:
    """grid-capacity: the setting that carries most."""
    assert true.capacity is not None
    setting = Setting(true.capacity.batch_size, true.capacity.threshold)
    if spec is not SERVING_V2:
        return fixed(true, setting)
    return on_serving_v2(fixed(without_further(true), setting), true)


def rows_of(spec: EnvSpec, service: str, traffics: list[str], policies: list[str], days: int) -> list[dict[str, Any]]:
    """A service under every traffic: a row for the generalist and for each of the policies; capacities beside days."""
    profiled, true = profiled_and_true(service)
    if spec is SERVING_V2:
        profiled, true = with_further_ladders(profiled), with_further_ladders(true)
    begun = time.perf_counter()
    GeneralistPolicy(without_further(profiled)).first()
    start_ms = 1e3 * (time.perf_counter() - begun)
    rows = []
    for traffic in traffics:
        change = TRAFFICS[choice("traffic", traffic, TRAFFICS)]
        here = change(profiled), change(true)
        of_grid = {} if traffic != "day" else measure(spec, best_fixed(spec, true), 1, capacity=True)
        for name in ("generalist", *policies):
            row = measure(spec, prepared_for(spec, name, *here), days, capacity=bool(of_grid))
            if of_grid:
                row["capacity_of_grid"] = row["capacity_qps"] / of_grid["capacity_qps"]
            rows.append({"service": service, "traffic": traffic, "policy": name, **row, "start_ms": start_ms})
    return rows


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The generalist beside each other policy over all services, by traffic: ratios and differences, mean and worst."""
    by = {(row["service"], row["traffic"], row["policy"]): row for row in rows}
    found = []
    for traffic, other in dict.fromkeys(
        (row["traffic"], row["policy"]) for row in rows if row["policy"] != "generalist"
    ):
        pairs = [
            (by[service, traffic, "generalist"], row)
            for (service, each, name), row in by.items()
            if (each, name) == (traffic, other)
        ]
        more = [mine["violations"] - theirs["violations"] for mine, theirs in pairs]
        line: dict[str, Any] = {"traffic": traffic, "other": other, "services": len(pairs)}
        for figure in ("p95_ms", "p99_ms", "goodput_qps", "capacity_qps"):
            ratios = [mine[figure] / theirs[figure] for mine, theirs in pairs if theirs.get(figure)]
            worst = min if figure.endswith("qps") else max
            line[figure] = [geometric_mean(ratios), worst(ratios)] if ratios else None
        found.append(line | {"violations_more": [float(np.mean(more)), max(more)]})
    return found


def main(
    services: Annotated[list[str], typer.Argument(help="NAME[:cores=N][:cpu=TIMES][:accelerator=TIMES] ...")],
    env: Annotated[str, typer.Option(help="serving or serving-v2.")] = "serving",
    traffic: Annotated[str, typer.Option(help="day, flash, drift, comma-separated.")] = "day",
    policies: Annotated[str, typer.Option(help="Beside it, comma-separated.")] = "load-table,deeprecsched",
    days: Annotated[int, typer.Option(help="Test days.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare the generalist with what was tuned on every service."""
    spec, rows = find_spec(choice("env", env, ("serving", "serving-v2"))), []
    for service in services:
        of_service = rows_of(spec, service, traffic.split(","), policies.split(","), days)
        rows += of_service
        if not json:
            cells = [[_shown(name, row.get(name, "-")) for name in COLUMNS] for row in of_service]
            console.print_table(service, [name.replace("_", " ") for name in COLUMNS], cells)
    if json:
        console.print_json({"environment": env, "rows": rows, "summary": summary(rows)})
        return
    lines = summary(rows)
    console.print_table(
        "The generalist's of the other's, mean and worst",
        [name.replace("_", " ") for name in lines[0]],
        [[_pair(value) for value in line.values()] for line in lines],
    )


def _shown(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if name in ("violations", "shed"):
        return f"{100.0 * value:.2f} %"
    return f"{value:.3f}" if name == "capacity_of_grid" else f"{value:.4g}"


def _pair(value: Any) -> str:
    if isinstance(value, list):
        return f"{value[0]:.3f} ({value[1]:.3f})"
    return "-" if value is None else str(value)


app = console.application("The generalist beside policies that were tuned on the service.")
app.command()(main)

if __name__ == "__main__":
    console.run(app, "benchmarks.generalist")
