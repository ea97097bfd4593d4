"""A trained agent against the baselines of its environment, by the evaluation that everything else has.

python -m deeprec_env.agents.evaluate FOLDER|MODEL.zip
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deeprec_env import console
from deeprec_env.analysis.capacity import TUNING_QUERIES
from deeprec_env.cli.compare import QualityFloor, Traffic, Trust, Windows, choices_of, show_comparison
from deeprec_env.cli.options import Engine, Json, Seed
from deeprec_env.envs import SERVING
from deeprec_env.envs.environments import find_spec
from deeprec_env.errors import InputError
from deeprec_env.policies.evaluation.evaluation import Evaluation, evaluation_of
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.scenario.load import load_scenario


def evaluate_agent(
    agent: Annotated[
        str,
        typer.Argument(
            help="A training's folder (its best model), one of its *_model.zip, or an agent from anywhere (--trust)."
        ),
    ],
    scenario: Annotated[
        str | None, typer.Option(help="Preset or YAML file (default: what the agent was trained on).")
    ] = None,
    env: Annotated[str | None, typer.Option(help="Environment (default: what the agent was trained in).")] = None,
    baselines: Annotated[
        str | None, typer.Option(help="Policies beside the agent: names, or paths of agents (default: random and all).")
    ] = None,
    traffic: Traffic = None,
    windows: Windows = None,
    quality_floor: QualityFloor = None,
    seeds: Annotated[int, typer.Option(help="Test days or episodes: seeds SEED .. SEED + SEEDS - 1.")] = 5,
    queries: Annotated[int, typer.Option(help="Queries of every probed rate.")] = TUNING_QUERIES,
    engine: Engine = "compiled",
    trust: Trust = False,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Compare a trained agent with the baselines on the same test days."""
    from deeprec_env.agents.agent import find_agent
    from deeprec_env.agents.foreign import is_foreign
    from deeprec_env.agents.storage import CONFIG, read_config

    config = {} if is_foreign(agent) else read_config(find_agent(agent)[0])
    if scenario is None and "scenario" not in config:
        raise InputError("scenario", None, f"must be given: the agent has no {CONFIG} that holds one")
    spec = find_spec(env or config.get("environment", SERVING))
    beside = _baselines(evaluation_of(spec)) if baselines is None else [name for name in baselines.split(",") if name]
    show_comparison(
        spec,
        load_scenario(config["scenario"] if scenario is None else scenario),
        [*beside, agent],
        labels=[*beside, config.get("algo", agent)],
        name=scenario or str(Path(agent)),
        seed=seed,
        seeds=seeds,
        options=TuneOptions(queries=queries, engine=engine),
        choices=choices_of(traffic=traffic, windows=windows, quality_floor=quality_floor),
        json=json,
        trust=trust,
    )


def _baselines(evaluation: Evaluation) -> list[str]:
    """What the environment's policies are compared with, random first."""
    named = evaluation.compared or tuple(evaluation.baselines)
    return [name for name in dict.fromkeys(("random", *named)) if name in evaluation.baselines]


app = console.application("A trained agent against the baselines.")
app.command()(evaluate_agent)
