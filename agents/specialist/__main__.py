"""Specialists of many scenarios and training seeds: trained and scored on test days, cell by cell.

python -m deeprec_env.agents.specialist FOLDER [SCENARIO ...] [--env serving] [--train-seeds 1] [--test-days 5]

A cell is a scenario and a training seed. What is in the folder already is not done again, so that seeds and scenarios
can be added later; processes with different scenarios may share it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.arguments import whole
from deeprec_env.envs.environments import SERVING, find_spec
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.extras import check_installed
from deeprec_env.files import make_folder, replacing
from deeprec_env.policies.adaptive.load_table_p99 import find_load_table_p99
from deeprec_env.policies.adaptive.rate_table import RateTablePolicy
from deeprec_env.policies.adaptive.stationary import StationaryRuns
from deeprec_env.policies.base import TunedPolicy, fixed
from deeprec_env.policies.evaluation.comparison import compare
from deeprec_env.policies.evaluation.evaluation import evaluation_of
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.progress import Progress, Step, part, silent
from deeprec_env.scenario.load import load_scenario, preset_names
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting

AGAINST = {
    "serving": ("load-table", "load-table-p99", "grid-capacity"),
    "serving-v2": ("champion", "grid-capacity"),
}
"""What agents are compared with, by environment."""

FIGURES = ("p95_hourly_s", "p99_day_s", "violation_rate", "shed_rate", "goodput_qps")


def measure(
    folder: Annotated[Path, typer.Argument(help="Trainings and results, a file for each cell.")],
    scenarios: Annotated[list[str] | None, typer.Argument(help="Presets (default: those with an accelerator).")] = None,
    env: Annotated[str, typer.Option(help="serving or serving-v2.")] = "serving",
    train_seeds: Annotated[int, typer.Option(help="Training seeds, from 0.")] = 1,
    test_days: Annotated[int, typer.Option(help="Test days, seeds from 0.")] = 5,
    traffic: Annotated[str, typer.Option(help="Of the test days: day or flash.")] = "day",
) -> None:
    """Train specialists and compare them on test days (needs the extra 'agents')."""
    whole("train-seeds", train_seeds, 1)
    whole("test-days", test_days, 1)
    check_installed("torch")
    from deeprec_env.agents.specialist.recipe import Recipe, prepare_scenario
    from deeprec_env.agents.specialist.teacher import Teacher, find_teacher
    from deeprec_env.agents.specialist.training import SUMMARY, train_specialist

    make_folder("folder", folder)
    names = scenarios or [name for name in preset_names() if load_scenario(name).has_accelerator]
    kept = f"cells that are done are in {folder}; the same command goes on"
    with console.telling("specialists", quiet=False, kept=kept) as progress:
        for number, name in enumerate(names):
            of_name = part(progress, number / len(names), (number + 1) / len(names), f"{name}: ")
            teacher: Teacher | None = None
            trainings = {seed: folder / f"{name}-{env}-{seed}" for seed in range(train_seeds)}
            for seed, training in trainings.items():
                if not (training / SUMMARY).exists():
                    recipe = Recipe(name, name, env, seed)
                    if teacher is None:
                        spec, prepared, _ = prepare_scenario(recipe)
                        teacher = find_teacher(spec, prepared, recipe.queries, of_name)
                    train_specialist(recipe, training, of_name, teacher)
            _score(
                folder / f"{name}-{env}-{traffic}-{test_days}.json", name, env, traffic, test_days, trainings, of_name
            )
    print_table(folder, f"{env}-{traffic}-{test_days}")


def _score(
    file: Path, name: str, env: str, traffic: str, days: int, trainings: dict[int, Path], progress: Progress
) -> None:
    """Add what is missing in a scenario's results: figures by policy and test day, tables and seeds alike."""
    known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    agents = {f"seed {seed}": str(path) for seed, path in trainings.items()}
    wanted = dict.fromkeys(AGAINST[env]) | agents
    spec = find_spec(env)
    scenario = evaluation_of(spec).prepare(load_scenario(name), "compiled", {"traffic": traffic})
    missing = {label: policy for label, policy in wanted.items() if label not in known}
    for done, (label, policy) in enumerate(missing.items()):
        progress(Step(f"test days of {label}", done / len(missing)))
        prepared = policy or _table(label, spec, scenario)
        found = compare(spec, load_scenario(name), [prepared], labels=[label], seeds=days, choices={"traffic": traffic})
        result = found.policies[label]
        known[label] = {figure: result.values(figure) for figure in FIGURES} | {
            "capacity_qps": None if result.capacities_qps is None else list(result.capacities_qps)
        }
        with replacing(file) as opened:
            json.dump(known, opened, indent=1)


def _table(name: str, spec: EnvSpec, scenario: Scenario) -> Any:
    """What is compared with, by its name; two of them ready-made.

    The best fixed setting for capacity is the one that the preset names; the table by p95 and p99, which evaluations
    have in serving-v2 alone, chooses batch size and threshold, and so acts in serving as it is.
    """
    capacity = scenario.capacity
    assert capacity is not None
    if name == "grid-capacity" and spec is SERVING:
        return fixed(scenario, Setting(capacity.batch_size, capacity.threshold))
    if name == "load-table-p99":
        options = TuneOptions()
        runs = StationaryRuns(scenario, seed=options.seed, engine=options.engine)
        table = find_load_table_p99(runs, options.queries, silent)
        return TunedPolicy(RateTablePolicy(table, scenario, spec.task.controls), scenario, table.queries_used)
    return name


def print_table(folder: Path, suffix: str) -> None:
    """A row for each agent: its day metric in that of each table, and what else has to hold."""
    from deeprec_env.agents.specialist.report import rows_of

    columns, rows = rows_of(folder, suffix)
    console.print_table(f"specialists, {suffix}", columns, rows)


app = console.application("Specialists, trained and scored.")
app.command()(measure)


def main(arguments: list[str] | None = None) -> None:
    """`python -m deeprec_env.agents.specialist`."""
    console.run(app, "deeprec_env.agents.specialist", arguments)


if __name__ == "__main__":
    main()
