"""`deeprec capacity` and `deeprec tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deeprec_env import console
from deeprec_env.analysis.capacity import (
    PERCENTILE,
    PRECISION,
    QUERIES,
    SWEEP_QUERIES,
    TUNING_QUERIES,
    UNSTABLE,
    CapacityEstimate,
    find_capacity,
)
from deeprec_env.cli.options import (
    SOURCES,
    AdmitOption,
    Arrivals,
    BatchSize,
    Cluster,
    Engine,
    Json,
    OffloadOption,
    OrderOption,
    Overrides,
    Pictures,
    PlanOption,
    PlotFile,
    ScenarioArgument,
    Seed,
    SplitRule,
    ThresholdOption,
    admit_of,
    print_result,
    threshold_of,
)
from deeprec_env.cli.plot import check_plot, draw
from deeprec_env.errors import InputError
from deeprec_env.executors.executor import Threads, executor_of
from deeprec_env.extras import can_plot
from deeprec_env.pictures import picture_kinds
from deeprec_env.scenario.load import assignments, load_scenario
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.simulate import with_options

DAYS = 16
"""Validation days of `deeprec tune --method grid-day`."""


_PARAM_HELP = (
    "A parameter of the method, name=value. deeprecsched: start, growth, tolerance. deeprecsched-repository: "
    "batch_sizes, thresholds, req_granularity, stable_region, sched_timeout, arr_steps, gap_steps, shortest_gap, "
    "longest_gap, nominal_gap. The other methods have none."
)
_NOTES = {
    "p95_only_qps": "the highest rate by the percentile alone, blind to overloaded pools and to p99",
    "variance_inflation": "variance of the late share over replications, in that of independent queries (1)",
}
"""What is not plain of a capacity's figures."""


def capacity(
    scenario: ScenarioArgument,
    arrivals: Arrivals = "poisson",
    batch_size: BatchSize = None,
    threshold: ThresholdOption = None,
    plan: PlanOption = None,
    split_rule: SplitRule = None,
    order: OrderOption = None,
    offload: OffloadOption = None,
    admit: AdmitOption = None,
    percentile: Annotated[float, typer.Option(help="Percentile that the target is for: 50 to 99.9.")] = PERCENTILE,
    queries: Annotated[
        int | None,
        typer.Option(help=f"Most queries of a probed rate (default: {QUERIES}; {SWEEP_QUERIES} in a sweep)."),
    ] = None,
    precision: Annotated[
        float, typer.Option(help="Half-width of the interval, in the value, that will do.")
    ] = PRECISION,
    sweep: Annotated[bool, typer.Option("--sweep", help="Map all settings of the ladders: CSV and heat map.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Folder of a sweep (default: runs/capacity/SCENARIO); it goes on with its CSV.")
    ] = None,
    pictures: Pictures = None,
    cluster: Cluster = None,
    plot: PlotFile = None,
    engine: Engine = "compiled",
    set_: Overrides = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Find the highest rate that settings carry within the target. It is a stationary one, with its interval."""
    loaded, limit = load_scenario(scenario, set_ or ()), admit_of(admit)
    check_plot(plot)
    if not sweep:
        for option, value in (("output", output), ("pictures", pictures), ("cluster", cluster)):
            if value is not None:
                raise InputError(option, str(value), "needs --sweep")
        with console.telling("capacity", quiet=json) as tell:
            found = find_capacity(
                loaded,
                arrivals=arrivals,
                batch_size=batch_size,
                threshold=threshold_of(threshold),
                plan=plan,
                split_rule=split_rule,
                order=order,
                offload=offload,
                admit=limit,
                percentile=percentile,
                queries=QUERIES if queries is None else queries,
                precision=precision,
                seed=seed,
                engine=engine,
                progress=tell,
            )
        facts = found.to_json()
        if plot is not None:
            draw(plot, facts, scenario)
        if not json:
            typer.echo(_in_words(found, loaded))
            del facts["verdict"]  # on a rate that is just met: it says nothing of the capacity, it is a run's
        print_result(facts, json, _NOTES | SOURCES)
        return
    if batch_size is not None or threshold is not None:
        raise InputError("sweep", "--batch-size, --threshold", "takes every setting of the ladders, and no other")
    loaded = with_options(loaded, plan=plan, split_rule=split_rule, order=order, offload=offload, admit=limit)
    from deeprec_env.analysis.sweep import Sweep

    kinds = picture_kinds(pictures)
    can_plot()  # said before long work starts
    name = Path(scenario).stem
    mapped = Sweep(
        loaded,
        name,
        output or Path("runs/capacity") / name,
        arrivals=arrivals,
        percentile=percentile,
        queries=SWEEP_QUERIES if queries is None else queries,
        precision=precision,
        seed=seed,
        engine=engine,
        pictures=kinds,
    )
    kept = f"settings that are done are kept in {mapped.csv}; the same command goes on"
    with console.progress(f"sweep {name}", mapped.settings, quiet=json, kept=kept) as update:
        mapped.run(update, executor=executor_of(cluster, Threads(1)))
    if plot is not None:
        draw(plot, mapped.to_json(), scenario)
    print_result(mapped.to_json(), json)


def _in_words(found: CapacityEstimate, scenario: Scenario) -> str:
    """What a capacity is, with its interval."""
    target = f"p{found.percentile:g} within {scenario.sla_ms:g} ms"
    if scenario.p99_factor is not None:
        target += f" and p99 within {scenario.p99_factor * scenario.sla_ms:g} ms"
    if found.qps == 0.0:
        return f"capacity 0: no rate has {target} ({found.limited_by})"
    limits = {"sla": "the target", "p99": "the bound of p99", UNSTABLE: "the backlog, which grows above it"}
    interval = ""
    if found.qps_ci is not None:
        low, high = found.qps_ci
        interval = f" [{low:.5g}, {high:.5g}] at {100 * found.confidence:g} %"
    limited_by = limits.get(found.limited_by, f"the load of {found.limited_by}")
    return f"capacity {found.qps:.5g} queries/s{interval}: the highest rate with {target}; limited by {limited_by}"


def tune(
    scenario: ScenarioArgument,
    method: Annotated[
        str, typer.Option(help="deeprecsched, deeprecsched-repository, grid-capacity (or grid), grid-day, static.")
    ]
    = "deeprecsched",
    arrivals: Arrivals = "poisson",
    queries: Annotated[int, typer.Option(help="Queries of every probed rate.")] = TUNING_QUERIES,
    days: Annotated[int | None, typer.Option(help=f"Validation days of grid-day (default: {DAYS}).")] = None,
    param: Annotated[list[str] | None, typer.Option(help=_PARAM_HELP)] = None,
    engine: Engine = "compiled",
    set_: Overrides = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:  # fmt: skip
    """Search for the best settings of a scenario."""
    from deeprec_env.policies.fixed.tune import METHODS_OF_DAYS, TuneOptions
    from deeprec_env.policies.fixed.tune import tune as tune_scenario

    if days is not None and method not in METHODS_OF_DAYS:
        raise InputError("days", days, f"has no effect with {method}: it is for {', '.join(METHODS_OF_DAYS)}")
    parameters = dict(assignments("--param", param or ()))
    options = TuneOptions(
        arrivals=arrivals,
        queries=queries,
        days=DAYS if days is None else days,
        seed=seed,
        engine=engine,
        parameters=parameters,
    )
    with console.telling(method, quiet=json) as tell:
        loaded = load_scenario(scenario, set_ or ())
        result = tune_scenario(loaded, method, options, tell)
    print_result(result.to_json(), json)
