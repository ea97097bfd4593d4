"""`deeprec train` and `deeprec evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deeprec_env import console
from deeprec_env.analysis.capacity import TUNING_QUERIES
from deeprec_env.cli.options import Engine, Json, Overrides, ScenarioArgument, Seed, print_result, show_comparison
from deeprec_env.errors import InputError
from deeprec_env.plugins import plugin_names
from deeprec_env.scenario.load import load_scenario

DAY_POLICIES = "static,deeprecsched,grid-capacity,grid-day,load-table,rate-oracle"
"""Policies compared on days by default."""

_OTHERS = "".join(f", {name}" for name in plugin_names("deeprec_env.policies"))
_POLICIES_HELP = (
    f"Names (also hindsight, random{_OTHERS}), module:function, or paths of agents "
    "(default: all but hindsight, random; capacity and pipeline have their own)."
)


def train(
    scenario: ScenarioArgument,
    algo: Annotated[str, typer.Option(help="ppo, ppo_lstm, a2c, dqn, qrdqn, sac or td3.")] = "ppo",
    env: Annotated[
        str, typer.Option(help="serving, capacity or pipeline: DeepRec/Serving-v1, Capacity-v0 or Pipeline-v0.")
    ] = "serving",
    timesteps: Annotated[int | None, typer.Option(help="Environment steps (default: the hyperparameters').")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder (default: runs/train/SCENARIO-ALGO-SEED).")] = None,
    reward: Annotated[
        str | None,
        typer.Option(help="serving: tail, goodput or efficiency; capacity: carried or efficiency."),
    ] = None,
    hyperparams: Annotated[Path | None, typer.Option(help="YAML in RL Zoo format (default: the shipped one).")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the folder's last checkpoint.")] = False,
    engine: Engine = "compiled",
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Train an agent (needs the extra 'agents')."""
    try:
        from deeprec_env.agents.training import TrainSettings
        from deeprec_env.agents.training import train as train_agent
    except ModuleNotFoundError as error:
        raise InputError("train", error.name, "is not installed: pip install 'deeprec-env[agents]'") from None

    name = Path(scenario).stem
    settings = TrainSettings(
        scenario=scenario,
        algo=algo,
        env=env,
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
    policies: Annotated[str | None, typer.Option(help=_POLICIES_HELP)] = None,
    env: Annotated[str, typer.Option(help="serving: days; capacity: the load climbs; pipeline: plans are chosen.")]
    = "serving",
    traffic: Annotated[str, typer.Option(help="day: built from the scenario's capacity; flash: with flash crowds.")]
    = "day",
    windows: Annotated[int | None, typer.Option(help="Windows of an episode of capacity (default: 1536).")] = None,
    quality_floor: Annotated[
        float | None, typer.Option(help="pipeline: share of the best quality that best-fixed-iso keeps (0.99).")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Test days or episodes: seeds SEED .. SEED + SEEDS - 1.")] = 5,
    queries: Annotated[int, typer.Option(help="Queries of every probed rate.")] = TUNING_QUERIES,
    engine: Engine = "compiled",
    set_: Overrides = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:  # fmt: skip
    """Compare policies and trained agents on the same test days."""
    from deeprec_env.policies.evaluation import capacity_episodes, pipeline_episodes, report
    from deeprec_env.policies.evaluation.days import evaluate as compare_on_days
    from deeprec_env.policies.evaluation.pipeline_policies import POLICIES as PIPELINE_POLICIES
    from deeprec_env.policies.fixed.best_plan import ISO_QUALITY
    from deeprec_env.policies.fixed.tune import TuneOptions

    if env not in ("serving", "capacity", "pipeline"):
        raise InputError("env", env, "must be serving, capacity or pipeline")
    if windows is not None and env != "capacity":
        raise InputError("windows", windows, "must be left out but with --env capacity")
    if quality_floor is not None and env != "pipeline":
        raise InputError("quality_floor", quality_floor, "must be left out but with --env pipeline")
    options = TuneOptions(queries=queries, engine=engine)
    loaded = load_scenario(scenario, set_ or ())
    names = None if policies is None else [name for name in policies.split(",") if name]
    if env == "capacity":
        if traffic != "day":
            raise InputError("traffic", traffic, "must be left out: in capacity the load follows the policy")
        show_comparison(
            lambda progress: capacity_episodes.compare(
                loaded,
                capacity_episodes.POLICIES if names is None else names,
                seed=seed,
                seeds=seeds,
                windows=capacity_episodes.WINDOWS if windows is None else windows,
                options=options,
                progress=progress,
            ),
            lambda compared: capacity_episodes.print_comparison(compared, scenario),
            json,
        )
    elif env == "pipeline":
        if traffic != "day":
            raise InputError("traffic", traffic, "must be left out: a pipeline's day has its bursts")
        show_comparison(
            lambda progress: pipeline_episodes.compare(
                loaded,
                list(PIPELINE_POLICIES) if names is None else names,
                seed=seed,
                seeds=seeds,
                quality_floor=ISO_QUALITY if quality_floor is None else quality_floor,
                options=options,
                progress=progress,
            ),
            lambda compared: pipeline_episodes.print_comparison(compared, scenario),
            json,
        )
    else:
        show_comparison(
            lambda progress: compare_on_days(
                loaded,
                DAY_POLICIES.split(",") if names is None else names,
                seed=seed,
                seeds=seeds,
                options=options,
                traffic=traffic,
                progress=progress,
            ),
            lambda compared: report.print_evaluation(compared, scenario),
            json,
        )
