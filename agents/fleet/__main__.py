"""An agent for a fleet: imitation of the provisioning table, then PPO.

python -m deeprec_env.agents.fleet SCENARIO --output FOLDER [--traffic day|flash] [--seed 0]

`deeprec evaluate SCENARIO --env fleet --policies ...,FOLDER` compares it; `deeprec train` trains one from scratch.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.extras import check_installed
from deeprec_env.scenario.load import load_scenario

TEACHER_DAYS = 4
"""Validation days that the teacher's headroom is chosen on."""

WATCHED_FROM = 2**31
"""Seed of the days that the teacher is watched on: no training of environments begins there."""


def train_fleet(
    scenario: Annotated[str, typer.Argument(help="A preset with a fleet, or a YAML file.")] = "fleet-wnd",
    output: Annotated[Path, typer.Option(help="Folder of the training.")] = Path("runs/train/fleet"),
    traffic: Annotated[str, typer.Option(help="Of the training days: day or flash.")] = "day",
    timesteps: Annotated[int | None, typer.Option(help="Windows of PPO (default: the recipe's).")] = None,
    seed: Annotated[int, typer.Option(help="Of the training.")] = 0,
) -> None:
    """Train an agent for a fleet (needs the extra 'agents')."""
    check_installed("torch")
    from deeprec_env.agents.fleet.imitation import imitate
    from deeprec_env.agents.training import TrainSettings, train
    from deeprec_env.policies.evaluation.fleet import FLEET, POLICIES, FleetTuning
    from deeprec_env.policies.fixed.tune import TuneOptions

    prepared = FLEET.prepare(load_scenario(scenario), "compiled", {"traffic": traffic})
    hyperparams = Path(str(resources.files("deeprec_env.agents") / "hyperparams" / "fleet.yml"))
    settings = TrainSettings(prepared, env="fleet", seed=seed, timesteps=timesteps, hyperparams=hyperparams, log=())

    def begin(model: Any) -> int:
        teacher = POLICIES["provisioning"](FleetTuning(settings.spec, prepared, TuneOptions(days=TEACHER_DAYS)))
        env = settings.spec.make(prepared)
        spent = imitate(model, env, teacher.policy, WATCHED_FROM + seed)
        env.close()
        return spent + (teacher.tuning_queries or 0)

    with console.progress("train", settings.total_timesteps(), quiet=False, kept=f"see {output}") as update:
        trained = train(settings, output, progress=update, begin=begin)
    console.print_json(trained.to_json())


if __name__ == "__main__":
    app = console.application("Agents for fleets.")
    app.command()(train_fleet)
    app()
