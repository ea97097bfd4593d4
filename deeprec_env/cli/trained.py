"""A trained agent against the baselines, by the evaluation that everything else has.

python -m deeprec_env.agents.evaluate FOLDER|MODEL.zip
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deeprec_env import console
from deeprec_env.agents.agent import find_agent
from deeprec_env.agents.storage import CONFIG, read_config
from deeprec_env.analysis.capacity import TUNING_QUERIES
from deeprec_env.cli.options import Engine, Json, Seed, show_comparison
from deeprec_env.errors import InputError
from deeprec_env.policies.evaluation.days import evaluate
from deeprec_env.policies.evaluation.report import print_evaluation
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.scenario.load import load_scenario

BASELINES = "random,static,deeprecsched,grid-capacity,grid-day,load-table,rate-oracle"


def evaluate_agent(
    agent: Annotated[str, typer.Argument(help="A training's folder (its best model), or one of its *_model.zip.")],
    scenario: Annotated[
        str | None, typer.Option(help="Preset or YAML file (default: what the agent was trained on).")
    ] = None,
    baselines: Annotated[str, typer.Option(help="Policies beside the agent: names, or paths of agents.")] = BASELINES,
    traffic: Annotated[str, typer.Option(help="day, or flash: with flash crowds.")] = "day",
    seeds: Annotated[int, typer.Option(help="Test days: seeds SEED .. SEED + SEEDS - 1.")] = 5,
    queries: Annotated[int, typer.Option(help="Queries of every probed rate.")] = TUNING_QUERIES,
    engine: Engine = "compiled",
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Compare a trained agent with the baselines on the same test days."""
    config = read_config(find_agent(agent)[0])
    if scenario is None and "scenario" not in config:
        raise InputError("scenario", None, f"must be given: the agent's {CONFIG} holds none")
    loaded = load_scenario(config["scenario"] if scenario is None else scenario)
    policies = [name for name in baselines.split(",") if name]
    show_comparison(
        lambda progress: evaluate(
            loaded,
            [*policies, agent],
            labels=[*policies, config["algo"]],
            seed=seed,
            seeds=seeds,
            options=TuneOptions(queries=queries, engine=engine),
            traffic=traffic,
            progress=progress,
        ),
        lambda compared: print_evaluation(compared, scenario or str(Path(agent))),
        json,
    )


app = console.application("A trained agent against the baselines.")
app.command()(evaluate_agent)
