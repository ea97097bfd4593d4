"""The main job in small: tune DeepRecSched, train PPO, compare on test days, and leave tables, model and plots.

The second table is of flash crowds, where only refusing queries helps (`DeepRec/Serving-v2`).

python -m deeprec_env.agents.demo --output runs/demo
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.analysis.capacity import TUNING_QUERIES
from deeprec_env.envs.environments import SERVING, SERVING_V2
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.errors import InputError
from deeprec_env.extras import check_installed
from deeprec_env.files import make_folder, replacing
from deeprec_env.pictures import picture_kinds
from deeprec_env.policies.adaptive.specialist_file import shipped_specialist
from deeprec_env.policies.evaluation.comparison import compare, print_comparison
from deeprec_env.policies.evaluation.evaluation import Comparison
from deeprec_env.policies.evaluation.plots import write_plots
from deeprec_env.policies.fixed.tune import TuneOptions, tune
from deeprec_env.progress import Progress
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario

POLICIES = ("static", "deeprecsched", "grid-capacity", "grid-day", "load-table")
LEARNED = ("generalist", "specialist")
"""Shipped: nothing is trained for them here."""

SEEING_AHEAD = "rate-oracle"
UNDER_FLASH = ("static", "deeprecsched", "load-table", "champion")
FLASH_DAYS = 3


def demo(
    scenario: Annotated[str, typer.Option(help="Preset or YAML file.")] = "wnd",
    output: Annotated[Path, typer.Option(help="Folder; a training finished there before is not repeated.")] = Path(
        "runs/demo"
    ),
    timesteps: Annotated[int, typer.Option(help="Steps of PPO.")] = 50_000,
    seeds: Annotated[int, typer.Option(help="Test days.")] = 5,
    queries: Annotated[int, typer.Option(help="Most queries of a probed rate.")] = TUNING_QUERIES,
    pictures: Annotated[str, typer.Option(help="Kinds of the plots: png, pdf, svg, comma-separated.")] = "png",
) -> None:
    """Tune, train, evaluate and plot one preset."""
    kinds = picture_kinds(pictures)
    check_installed("torch")
    begun = time.perf_counter()
    make_folder("output", output)
    loaded, options = load_scenario(scenario), TuneOptions(queries=queries)
    with console.telling("deeprecsched", quiet=False) as update:
        tuned = tune(loaded, "deeprecsched", options, update).to_json()
    print(
        f"deeprecsched: batch size {tuned['batch_size']}, threshold {tuned['threshold']}, {tuned['qps']:.0f} QPS"
        f" ({tuned['queries_used']:,} simulated queries, {time.perf_counter() - begun:.0f} s)",
        flush=True,
    )
    agent = _train(scenario, output / "ppo", timesteps)
    print(f"ppo: trained for {timesteps:,} steps ({time.perf_counter() - begun:.0f} s so far)", flush=True)
    learned = _shipped_for(SERVING, loaded)
    with console.telling("evaluate", quiet=False) as update:
        compared = compare(
            SERVING,
            loaded,
            [*POLICIES, *learned, str(agent), SEEING_AHEAD],
            labels=[*POLICIES, *learned, "ppo", SEEING_AHEAD],
            seeds=seeds,
            options=options,
            progress=update,
        )
        flash = _under_flash(loaded, options, update)
        results: dict[str, Any] = {"scenario": scenario, "tune": tuned, **compared.to_json(), "flash": flash.to_json()}
        with replacing(output / "results.json") as file:
            json.dump(results, file, indent=2)
        update("plots")
        plots = write_plots(compared, output, queries=queries, name=Path(scenario).stem, kinds=kinds)
    print_comparison(compared, scenario)
    print_comparison(flash, scenario)
    print(f"left in {output}: results.json, ppo/, {', '.join(plots)} ({time.perf_counter() - begun:.0f} s)")


def _shipped_for(spec: EnvSpec, scenario: Scenario) -> tuple[str, ...]:
    """`LEARNED`, without the specialist where there is none."""
    try:
        shipped_specialist(spec, scenario)
    except InputError:
        return LEARNED[:1]
    return LEARNED


def _under_flash(scenario: Scenario, options: TuneOptions, progress: Progress) -> Comparison:
    """The classical champion and those that are shipped where a third of the queries is too much for any setting."""
    return compare(
        SERVING_V2,
        scenario,
        [*UNDER_FLASH, *_shipped_for(SERVING_V2, scenario)],
        seeds=FLASH_DAYS,
        options=options,
        choices={"traffic": "flash"},
        progress=progress,
    )


def _train(scenario: str, folder: Path, timesteps: int) -> Path:
    """Train, or go on from where an interrupted demo stopped."""
    from deeprec_env.agents.training import TrainSettings, train  # torch, which may be missing

    settings = TrainSettings(scenario=scenario, timesteps=timesteps)
    kept = f"the training's checkpoint is in {folder}; the same command goes on"
    with console.progress(f"train ppo on {scenario}", timesteps, quiet=False, kept=kept) as update:
        train(settings, folder, resume=(folder / "last_state.json").exists(), progress=update)
    return folder


app = console.application("The main job in small.")
app.command()(demo)

if __name__ == "__main__":
    console.run(app, "deeprec_env.agents.demo")
