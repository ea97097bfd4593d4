"""Processor time of PPO until it reaches a score: today's hyperparameters beside others, each from scratch.

    python -m benchmarks.training [--scenarios wnd,dlrm-rmc3] [--seeds 3] [--now FILE] [--json]

The score is that of the validation days which a training watches. The one to reach is the median over seeds of the
best that the hyperparameters of `--before` find in `--timesteps`; a training that never reaches it counts as endless.
Seconds are the processor's, of this process on one core, from the first step on, validations included. Every training
leaves its curve in `--output` and is not run again: after an interrupt the same command goes on.
"""

from __future__ import annotations

import json as json_text
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.agents.evaluations import read_evaluations
from deeprec_env.agents.training import TrainSettings, train
from deeprec_env.files import make_folder, replacing

BEFORE = Path(__file__).with_name("ppo_before.yml")

Curve = list[dict[str, float]]


@cache
def compile_once(settings: TrainSettings) -> None:
    """Train and validate once, so that no time to compile is measured."""
    with tempfile.TemporaryDirectory() as folder:
        train(replace(settings, timesteps=1), Path(folder))


def curve_of(settings: TrainSettings, told: Callable[[int], None]) -> Curve:
    """Train, and return what every validation found: `timesteps`, `seconds` until then and `objective_s`."""
    compile_once(replace(settings, scenario="wnd", seed=0))
    seconds: dict[int, float] = {}

    def note(_: str, steps: int) -> None:
        seconds[max(seconds, default=0) + steps] = time.process_time()
        told(steps)

    with tempfile.TemporaryDirectory() as folder:
        train(settings, Path(folder), progress=note)
        found = read_evaluations(Path(folder))
    begun_s = min(seconds.values())
    return [
        {"timesteps": steps, "seconds": seconds[steps] - begun_s, "objective_s": objective}
        for steps, objective in zip(found.timesteps, found.figures["objective_s"], strict=True)
    ]


def kept_curve(settings: TrainSettings, path: Path, told: Callable[[int], None]) -> Curve:
    """The curve of a training, from a file that was left by the same one if there is such."""
    asked = {"timesteps": settings.total_timesteps(), "hyperparams": settings.parameters().raw}
    if path.exists():
        kept = json_text.loads(path.read_text(encoding="utf-8"))
        if {name: kept[name] for name in asked} == asked:
            told(settings.total_timesteps())
            return list(kept["curve"])
    curve = curve_of(settings, told)
    with replacing(path) as file:
        json_text.dump(asked | {"curve": curve}, file, indent=1)
    return curve


def seconds_until(curve: Curve, objective_s: float) -> float:
    """When a validation first found a score as good; infinite: never."""
    return next((each["seconds"] for each in curve if each["objective_s"] <= objective_s), math.inf)


def compared(before: list[Curve], now: list[Curve]) -> dict[str, Any]:
    """What both reach, and how long it takes them."""
    best = {name: [min(each["objective_s"] for each in curve) for curve in curves]
            for name, curves in (("before", before), ("now", now))}  # fmt: skip
    to_reach_s = statistics.median(best["before"])
    found: dict[str, Any] = {"objective_ms": to_reach_s * 1e3}
    for name, curves in (("before", before), ("now", now)):
        seconds = [seconds_until(curve, to_reach_s) for curve in curves]
        found[name] = {
            "seconds": statistics.median(seconds),
            "seconds_by_seed": seconds,
            "best_ms": [each * 1e3 for each in best[name]],
            "steps_per_s": statistics.median(curve[-1]["timesteps"] / curve[-1]["seconds"] for curve in curves),
        }
    return found | {"ratio": found["now"]["seconds"] / found["before"]["seconds"]}


def main(
    scenarios: Annotated[str, typer.Option(help="Presets or YAML files, separated by commas.")] = "wnd,dlrm-rmc3",
    seeds: Annotated[int, typer.Option(help="Training seeds.")] = 3,
    timesteps: Annotated[int, typer.Option(help="Steps of a training.")] = 100_000,
    before: Annotated[Path, typer.Option(help="Hyperparameters that set the score.")] = BEFORE,
    now: Annotated[Path | None, typer.Option(help="Hyperparameters to compare; default: the shipped ones.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for the curves.")] = Path("runs/benchmarks/training"),
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train with both, and compare how long they take to reach the same score."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    make_folder("output", output)
    files = {"before": before, "now": now}
    names, payload = scenarios.split(","), {}
    steps, kept = 2 * seeds * len(names) * timesteps, f"{output} has the curves so far"
    with console.progress("train", steps, quiet=json, kept=kept) as update:
        for scenario in names:
            curves: dict[str, list[Curve]] = {name: [] for name in files}
            for name, file in files.items():
                for seed in range(seeds):
                    settings = TrainSettings(scenario, timesteps=timesteps, hyperparams=file, seed=seed, log=())
                    label = f"{Path(scenario).stem}-{file.stem if file else 'shipped'}-{seed}"
                    curve = kept_curve(settings, output / f"{label}.json", partial(update, label))
                    curves[name].append(curve)
            payload[scenario] = compared(curves["before"], curves["now"])
    (console.print_json if json else console.print_facts)(payload)


app = console.application("Processor time of PPO until it reaches a score.")
app.command()(main)

if __name__ == "__main__":
    console.run(app, "benchmarks.training")
