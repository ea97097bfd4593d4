"""`deeprec train` and `deeprec evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deeprec_env import console
from deeprec_env.analysis.capacity import TUNING_QUERIES
from deeprec_env.commands.options import Engine, Json, Overrides, ScenarioArgument, Seed, print_result
from deeprec_env.errors import InputError
from deeprec_env.scenario.load import load_scenario


def train(
    scenario: ScenarioArgument,
    algo: Annotated[str, typer.Option(help="ppo, ppo_lstm, a2c, dqn, qrdqn, sac or td3.")] = "ppo",
    timesteps: Annotated[int | None, typer.Option(help="Environment steps (default: the hyperparameters').")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder (default: runs/train/SCENARIO-ALGO-SEED).")] = None,
    reward: Annotated[str, typer.Option(help="tail, goodput or efficiency.")] = "tail",
    hyperparams: Annotated[Path | None, typer.Option(help="YAML in RL Zoo format (default: the shipped one).")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the folder's last checkpoint.")] = False,
    engine: Engine = "compiled",
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Train an agent (needs the extra 'agents')."""
    try:
        from agents.train import TrainSettings
        from agents.train import train as train_agent
    except ModuleNotFoundError as error:
        raise InputError("train", error.name, "is not installed: pip install 'deeprec-env[agents]'") from None

    name = Path(scenario).stem
    settings = TrainSettings(
        scenario=scenario,
        algo=algo,
        timesteps=timesteps,
        reward=reward,
        hyperparams=hyperparams,
        engine=engine,
        seed=seed,
    )
    folder = output or Path("runs/train") / f"{name}-{algo}-{seed}"
    with console.progress(f"train {name}", settings.total_timesteps(), quiet=json) as update:
        trained = train_agent(settings, folder, resume=resume, progress=update)
    print_result(trained.to_json(), json)


def evaluate(
    scenario: ScenarioArgument,
    policies: Annotated[str, typer.Option(help="Names (also hindsight, random), or paths of agents.")]
    = "static,deeprecsched,grid-capacity,grid-day,load-table,rate-oracle",
    traffic: Annotated[str, typer.Option(help="day: built from the scenario's capacity; flash: with flash crowds.")]
    = "day",
    seeds: Annotated[int, typer.Option(help="Test days: seeds SEED .. SEED + SEEDS - 1.")] = 5,
    queries: Annotated[int, typer.Option(help="Queries of every probed rate.")] = TUNING_QUERIES,
    engine: Engine = "compiled",
    set_: Overrides = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:  # fmt: skip
    """Compare policies and trained agents on the same test days."""
    from policies.evaluate import evaluate as evaluate_policies
    from policies.report import print_evaluation
    from policies.tune import TuneOptions

    options = TuneOptions(queries=queries, engine=engine)
    with console.progress("evaluate", None, quiet=json) as update:
        loaded, names = load_scenario(scenario, set_ or ()), [name for name in policies.split(",") if name]
        evaluation = evaluate_policies(
            loaded,
            names,
            seed=seed,
            seeds=seeds,
            options=options,
            traffic=traffic,
            progress=lambda what: update(what, 1),
        )
    if json:
        console.print_json(evaluation.to_json())
    else:
        print_evaluation(evaluation, scenario)
