"""`deeprec explain`: where the latency of the slowest queries went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.arguments import whole
from deeprec_env.cli.options import (
    AdmitOption,
    Arrivals,
    BatchSize,
    Engine,
    Json,
    OffloadOption,
    OrderOption,
    Overrides,
    PlanOption,
    Qps,
    ScenarioArgument,
    Seed,
    Split,
    SplitRule,
    ThresholdOption,
    admit_of,
    print_result,
    threshold_of,
)
from deeprec_env.fleet.simulate import simulate_fleet
from deeprec_env.scenario.load import load_scenario
from deeprec_env.simulation.simulate import MOST_KEPT, QUERIES, simulate

if TYPE_CHECKING:
    from deeprec_env.timeline.explain import ExplainedQuery, Explanation
    from deeprec_env.timeline.explain_fleet import FleetExplanation


def explain_command(
    scenario: ScenarioArgument,
    slowest: Annotated[int, typer.Option(help="Queries to explain, the slowest first.")] = 5,
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
    split: Split = "train",
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Say where the latency of the slowest queries went. Also behind whom they waited, and what would have helped."""
    from deeprec_env.timeline.explain import check_slowest, explain
    from deeprec_env.timeline.explain_fleet import explain_fleet

    check_slowest(slowest)
    whole("queries", queries, 1, MOST_KEPT, f"must be at most {MOST_KEPT}: longer runs keep no records")
    with console.telling("explain", quiet=json) as update:
        loaded = load_scenario(scenario, set_ or ())
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
            "queries": queries,
            "seed": seed,
            "split": split,
            "engine": engine,
        }
        found: Explanation | FleetExplanation
        if loaded.fleet is None:
            found = explain(simulate(loaded, **options), slowest, update)
        else:
            found = explain_fleet(simulate_fleet(loaded, **options), slowest, update)
    if json:
        print_result(found.to_json(), json)
    else:
        _tell(found)


def _tell(found: Explanation | FleetExplanation) -> None:
    from deeprec_env.timeline.explain_fleet import FleetExplanation, FleetQuery
    from deeprec_env.timeline.parts import PARTS

    rows, fleet = [], isinstance(found, FleetExplanation)
    queries: list[ExplainedQuery] = []
    for each in found.queries:
        query = each.on_node if isinstance(each, FleetQuery) else each
        queries.append(query)
        head = [str(query.query), f"{query.arrival_s:.6g}", str(query.items), f"{query.latency_s * 1e3:.4g}"]
        if isinstance(each, FleetQuery):
            head += [f"{each.node} ({each.group})", f"{each.network_s * 1e3:.4g}"]
        for stage in query.stages:
            parts = [f"{seconds * 1e3:.4g}" if seconds else "" for seconds in stage.parts_s.tolist()]
            rows.append([*head, stage.pool, str(stage.requests), *parts])
            head = [""] * len(head)
    columns = (
        "query",
        "arrival s",
        "items",
        "latency ms",
        *(("node", "network") if fleet else ()),
        "pool",
        "requests",
        *(part.replace("_", "-") for part in PARTS),
    )
    title = f"the {len(found.queries)} slowest of {found.result.queries - found.result.warmup} queries, in milliseconds"
    console.print_table(title, columns, rows)
    for query in queries:
        typer.echo(f"query {query.query}: {query.cause}")
        if query.helps:
            typer.echo(f"  would have helped: {query.helps}")
