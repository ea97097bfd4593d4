"""`deeprec scenarios` and `deeprec simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.cli.describe import described, print_described
from deeprec_env.cli.options import (
    SOURCES,
    AdmitOption,
    Arrivals,
    BatchSize,
    Engine,
    Json,
    OffloadOption,
    OrderOption,
    Overrides,
    PlanOption,
    PlotFile,
    Qps,
    ScenarioArguments,
    Seed,
    Split,
    SplitRule,
    ThresholdOption,
    admit_of,
    print_result,
    threshold_of,
)
from deeprec_env.cli.plot import check_plot, draw
from deeprec_env.cli.side_by_side import REPLICATIONS, print_side_by_side, side_by_side, variants
from deeprec_env.cli.timeline import timeline_shown, write_shown
from deeprec_env.cli.verdict import verdict_in_words
from deeprec_env.errors import InputError
from deeprec_env.fleet.result import FleetResult
from deeprec_env.fleet.simulate import simulate_fleet
from deeprec_env.scenario.load import fleet_names, load_scenario, pipeline_names, preset_names, preset_text
from deeprec_env.simulation.header import SCHEMA_VERSION
from deeprec_env.simulation.simulate import QUERIES, Result, simulate


def scenarios(name: Annotated[str | None, typer.Argument()] = None, json: Json = False, seed: Seed = 0) -> None:
    """List the shipped scenarios, or print one as YAML. The list says what each is."""
    if name is None and json:
        names = {"scenarios": preset_names(), "pipelines": pipeline_names(), "fleets": fleet_names()}
        console.print_json({"schema_version": SCHEMA_VERSION, **names, "described": described()})
    elif name is None:
        print_described()
    elif json:
        console.print_json(load_scenario(preset_scenario(name)).model_dump(mode="json"))
    else:
        typer.echo(preset_text(name), nl=False)


def preset_scenario(name: str) -> str:
    """The name, if it is a preset's."""
    preset_text(name)
    return name


def simulate_command(
    scenario: ScenarioArguments,
    qps: Qps = None,
    arrivals: Arrivals = "poisson",
    batch_size: BatchSize = None,
    threshold: ThresholdOption = None,
    plan: PlanOption = None,
    split_rule: SplitRule = None,
    order: OrderOption = None,
    offload: OffloadOption = None,
    admit: AdmitOption = None,
    queries: Annotated[int, typer.Option(help="Arrivals to simulate.")] = QUERIES,
    engine: Engine = "compiled",
    set_: Overrides = None,
    records: Annotated[Path | None, typer.Option(help="Write every query to this file: *.csv or *.parquet.")] = None,
    timeline: Annotated[
        Path | None, typer.Option(help="Write a trace for ui.perfetto.dev: *.pftrace or *.json, or either with .gz.")
    ] = None,
    timeline_window: Annotated[
        str | None, typer.Option(help="Seconds that the timeline shows, FROM:TO (default: the whole run).")
    ] = None,
    timeline_slowest: Annotated[
        int | None, typer.Option(help="Show what happened while this many of the slowest queries were there.")
    ] = None,
    plot: PlotFile = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(help="Compare values of the scenario under the same traffic: key.path=value,value,..."),
    ] = None,
    replications: Annotated[
        int | None, typer.Option(help=f"Seeds that a comparison is paired by (default: {REPLICATIONS}).")
    ] = None,
    split: Split = "train",
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Run a scenario and summarise latencies, rates and energy. Fleets, too."""
    options: dict[str, Any] = {
        "qps": qps,
        "arrivals": arrivals,
        "batch_size": batch_size,
        "threshold": threshold_of(threshold),
        "plan": plan,
        "split_rule": split_rule,
        "order": order,
        "offload": offload,
        "admit": admit_of(admit),
    }
    if len(scenario) > 1 or sweep:
        for option, value in (("records", records), ("timeline", timeline), ("plot", plot)):
            if value is not None:
                raise InputError(option, str(value), "must be left out: it is of one run")
        payload = side_by_side(
            variants(scenario, set_ or (), sweep or ()),
            replications=REPLICATIONS if replications is None else replications,
            seed=seed,
            split=split,
            engine=engine,
            queries=queries,
            quiet=json,
            **options,
        )
        if json:
            print_result(payload, json)
        else:
            print_side_by_side(payload)
        return
    if replications is not None:
        raise InputError("replications", replications, "needs several scenarios, or sweep")
    check_plot(plot)
    loaded = load_scenario(scenario[0], set_ or ())
    shown = timeline_shown(timeline, timeline_window, timeline_slowest, queries)
    if loaded.fleet is not None:
        for option, path in (("timeline", timeline), ("plot", plot)):
            if path is not None:
                raise InputError(option, str(path), "must be left out: it is of one node, not of a fleet")
    with console.progress("simulate", queries, quiet=json) as update:
        run: dict[str, Any] = {
            **options,
            "queries": queries,
            "seed": seed,
            "split": split,
            "engine": engine,
            "records": records,
            "progress": lambda done: update("simulate", done),
        }
        result = simulate(loaded, **run) if loaded.fleet is None else simulate_fleet(loaded, **run)
    if isinstance(result, FleetResult):
        if result.overloaded and not json:
            typer.echo("overloaded: these latencies grow with the run", err=True)
        _print(result, json)
        return
    if timeline is not None:
        write_shown(result, timeline, shown)
    if plot is not None:
        draw(plot, result.to_json(), scenario[0], result.records)
    if result.overloaded and not json:
        pools = ", ".join(
            f"{work.label} has an offered load of {work.load(result.qps_offered):.3g}"
            for work in result.overloaded_pools()
        )
        typer.echo(f"overloaded: {pools or 'the backlog grows'}, so these latencies grow with the run", err=True)
    _print(result, json)


def _print(result: Result | FleetResult, json: bool) -> None:
    facts = result.to_json()
    print_result(facts if json else {**facts, "verdict": verdict_in_words(result)}, json, SOURCES)
