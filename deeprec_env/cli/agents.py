"""`deeprec evaluate`, and what it has in common with `deeprec train`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from deeprec_env.analysis.capacity import TUNING_QUERIES
from deeprec_env.cli.compare import QualityFloor, Traffic, Trust, Windows, choices_of, show_comparison
from deeprec_env.cli.options import Cluster, Engine, Json, Overrides, PlotFile, ScenarioArgument, Seed
from deeprec_env.envs.environments import SPECS, environment_names, find_spec
from deeprec_env.plugins import plugin_names
from deeprec_env.scenario.load import load_scenario

_OTHERS = "".join(f", {name}" for name in plugin_names("deeprec_env.policies"))
_POLICIES_HELP = (
    f"Names (also hindsight, random{_OTHERS}, generalist, specialist), module:function, or paths of agents, "
    "also Stable-Baselines3's zips and RL Zoo's folders (with --trust) "
    "(default: all but these; other environments than serving have their own)."
)
ENV_HELP = f"{', '.join(environment_names())}, an id as Gymnasium has it, or module:name of an EnvSpec."
REWARDS_HELP = "; ".join(f"{spec.name}: {', '.join(spec.task.rewards)}" for spec in SPECS)


def load_training() -> Any:
    """The module that trains (needs the extra 'agents')."""
    from deeprec_env.agents import training

    return training


def evaluate(
    scenario: ScenarioArgument,
    policies: Annotated[str | None, typer.Option(help=_POLICIES_HELP)] = None,
    env: Annotated[str, typer.Option(help=ENV_HELP)] = "serving",
    traffic: Traffic = None,
    windows: Windows = None,
    quality_floor: QualityFloor = None,
    seeds: Annotated[int, typer.Option(help="Test days or episodes: seeds SEED .. SEED + SEEDS - 1.")] = 5,
    queries: Annotated[int, typer.Option(help="Queries of every probed rate.")] = TUNING_QUERIES,
    engine: Engine = "compiled",
    set_: Overrides = None,
    trust: Trust = False,
    plot: PlotFile = None,
    cluster: Cluster = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Compare policies and trained agents on the same test days.

    A scenario whose arrivals are no day gets one, from its capacity (that of its best fixed setting, found first, where
    it gives none); its own arrivals are not used then.
    """
    from deeprec_env.policies.fixed.tune import TuneOptions

    show_comparison(
        find_spec(env),
        load_scenario(scenario, set_ or ()),
        None if policies is None else [name for name in policies.split(",") if name],
        name=scenario,
        seed=seed,
        seeds=seeds,
        options=TuneOptions(queries=queries, engine=engine),
        choices=choices_of(traffic=traffic, windows=windows, quality_floor=quality_floor),
        json=json,
        trust=trust,
        plot=plot,
        cluster=cluster,
    )
