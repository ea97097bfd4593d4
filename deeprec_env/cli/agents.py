"""`deeprec train` and `deeprec evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.analysis.capacity import TUNING_QUERIES
from deeprec_env.cli.compare import QualityFloor, Traffic, Trust, Windows, choices_of, show_comparison
from deeprec_env.cli.options import Engine, Json, Overrides, ScenarioArgument, Seed, print_result
from deeprec_env.envs.environments import SPECS, environment_names, find_spec
from deeprec_env.plugins import plugin_names
from deeprec_env.scenario.load import load_scenario

_OTHERS = "".join(f", {name}" for name in plugin_names("deeprec_env.policies"))
_POLICIES_HELP = (
    f"Names (also hindsight, random{_OTHERS}), module:function, or paths of agents, "
    "also Stable-Baselines3's zips and RL Zoo's folders (with --trust) "
    "(default: all but hindsight, random; other environments than serving have their own)."
)
_ENV_HELP = f"{', '.join(environment_names())}, an id as Gymnasium has it, or module:name of an EnvSpec."
_REWARDS = "; ".join(f"{spec.name}: {', '.join(spec.task.rewards)}" for spec in SPECS)


def train(
    scenario: ScenarioArgument,
    algo: Annotated[str, typer.Option(help="ppo, ppo_lstm, a2c, dqn, qrdqn, sac or td3.")] = "ppo",
    env: Annotated[str, typer.Option(help=_ENV_HELP)] = "serving",
    timesteps: Annotated[int | None, typer.Option(help="Environment steps (default: the hyperparameters').")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder (default: runs/train/SCENARIO-ALGO-SEED).")] = None,
    reward: Annotated[str | None, typer.Option(help=f"{_REWARDS} (default: the first).")] = None,
    hyperparams: Annotated[Path | None, typer.Option(help="YAML in RL Zoo format (default: the shipped one).")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the folder's last checkpoint.")] = False,
    engine: Engine = "compiled",
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Train an agent (needs the extra 'agents')."""
    TrainSettings, train_agent = load_training()
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

    def kept() -> str:
        there = (folder / "last_state.json").exists()
        return f"a checkpoint is in {folder}; the same command with --resume goes on" if there else console.NOTHING_KEPT

    with console.progress(f"train {name}", settings.total_timesteps(), quiet=json, kept=kept) as update:
        trained = train_agent(settings, folder, resume=resume, progress=update)
    print_result(trained.to_json(), json)


def load_training() -> Any:
    """What settings of a training are, and what trains by them (needs the extra 'agents')."""
    from deeprec_env.agents.training import TrainSettings, train

    return TrainSettings, train


def evaluate(
    scenario: ScenarioArgument,
    policies: Annotated[str | None, typer.Option(help=_POLICIES_HELP)] = None,
    env: Annotated[str, typer.Option(help=_ENV_HELP)] = "serving",
    traffic: Traffic = None,
    windows: Windows = None,
    quality_floor: QualityFloor = None,
    seeds: Annotated[int, typer.Option(help="Test days or episodes: seeds SEED .. SEED + SEEDS - 1.")] = 5,
    queries: Annotated[int, typer.Option(help="Queries of every probed rate.")] = TUNING_QUERIES,
    engine: Engine = "compiled",
    set_: Overrides = None,
    trust: Trust = False,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Compare policies and trained agents on the same test days."""
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
    )
