"""What specialists do, seen: their settings through a test day beside the load table's, a picture for each scenario.

python -m deeprec_env.policies.specialist_days FOLDER [SCENARIO ...] [--seed 0]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from deeprec_env import console
from deeprec_env.envs.environments import SERVING
from deeprec_env.files import make_folder
from deeprec_env.pictures import picture
from deeprec_env.policies.adaptive.specialist_file import shipped_specialist
from deeprec_env.policies.base import TunedPolicy
from deeprec_env.policies.evaluation.episodes import EpisodeRun, run_episode
from deeprec_env.policies.evaluation.evaluation import evaluation_of
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.policies.registry import prepare
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario

NEVER_ITEMS = 1024
"""Where the picture shows a threshold that no query reaches."""

DRAWN = ("wnd", "dlrm-rmc3", "din")


def draw(
    folder: Annotated[Path, typer.Argument(help="The pictures, specialist-SCENARIO.svg.")],
    scenarios: Annotated[list[str] | None, typer.Argument(help=f"Presets (default: {', '.join(DRAWN)}).")] = None,
    seed: Annotated[int, typer.Option(help="Of the test day.")] = 0,
) -> None:
    """Draw the settings of shipped specialists and of load tables through a test day."""
    make_folder("folder", folder)
    for name in scenarios or DRAWN:
        evaluation = evaluation_of(SERVING)
        scenario = evaluation.prepare(load_scenario(name), "compiled", evaluation.choices)
        policies: dict[str, TunedPolicy] = {
            "load-table": prepare("load-table", scenario, TuneOptions(), lambda words: None),
            "specialist": shipped_specialist(SERVING, scenario),
        }
        env = SERVING.make(scenario)
        days = {each: run_episode(env, prepared.policy, seed, "test") for each, prepared in policies.items()}
        env.close()
        draw_day(folder / f"specialist-{name}.svg", scenario, days, f"{name}, test day {seed}")


def draw_day(path: Path, scenario: Scenario, days: dict[str, EpisodeRun], title: str) -> None:
    """Load, p95, batch size and threshold of each window, by policy."""
    assert scenario.capacity is not None
    windows = len(next(iter(days.values())).infos) - 1
    hours = np.arange(windows) * 24.0 / windows
    with picture(path, rows=4, width=7.0, height=1.3, sharex=True) as grid:
        load, p95, batch, threshold = grid[:, 0]
        for place, (name, run) in enumerate(days.items()):
            style: Any = {"color": f"C{place}", "linewidth": 1.0, "where": "post", "label": name}
            each = {key: np.array([info[key] for info in run.infos[1:]]) for key in run.infos[1]}
            if not place:
                load.step(hours, each["offered_qps"] / scenario.capacity.qps, color="0.4", linewidth=1.0, where="post")
            p95.step(hours, each["p95_ms"], **style)
            batch.step(hours, each["batch_size"], **style)
            threshold.step(hours, np.minimum(each["threshold"], NEVER_ITEMS), **style)
        load.set_title(title, fontsize=9)
        for axes, words in zip(grid[:, 0], ("load", "p95 ms", "batch size", "threshold"), strict=True):
            axes.set_ylabel(words, fontsize=8)
            axes.tick_params(labelsize=7)
            axes.grid(alpha=0.3)
        for axes in (p95, batch):
            axes.set_yscale("log")
        threshold.set_xlabel("hour", fontsize=8)
        p95.legend(frameon=False, fontsize=7)


app = console.application("The settings of specialists through a day.")
app.command()(draw)


def main(arguments: list[str] | None = None) -> None:
    """`python -m deeprec_env.policies.specialist_days`."""
    console.run(app, "deeprec_env.policies.specialist_days", arguments)


if __name__ == "__main__":
    main()
