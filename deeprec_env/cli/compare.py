"""What the commands that compare policies share: their options, and how a comparison is shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.cli.day_note import tell_day
from deeprec_env.cli.options import print_result
from deeprec_env.cli.plot import check_plot, draw
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.executors.executor import Threads, executor_of
from deeprec_env.scenario.schema import Scenario

if TYPE_CHECKING:
    from deeprec_env.policies.fixed.tune import TuneOptions

Traffic = Annotated[
    str | None,
    typer.Option(
        help="serving, serving-v2: day, built from the scenario's capacity (default), flash, with flash crowds, "
        "or drift, with sizes that grow through the day; fleet: day or flash."
    ),
]
Windows = Annotated[int | None, typer.Option(help="capacity: windows of an episode (default: 1536).")]
QualityFloor = Annotated[
    float | None,
    typer.Option(help="pipeline: share of the best quality that best-fixed-iso keeps (default: 0.99)."),
]

Trust = Annotated[
    bool,
    typer.Option("--trust", help="Unpickle agents that 'deeprec train' has not written: they may run any code."),
]


def choices_of(**given: Any) -> dict[str, Any]:
    """The choices that were made."""
    return {name: value for name, value in given.items() if value is not None}


def show_comparison(
    spec: EnvSpec,
    scenario: Scenario,
    policies: Sequence[str] | None,
    *,
    name: str,
    seed: int,
    seeds: int,
    options: TuneOptions,
    choices: dict[str, Any],
    json: bool,
    labels: Sequence[str] | None = None,
    trust: bool = False,
    plot: Path | None = None,
    cluster: str | None = None,
) -> None:
    """Compare policies in an environment, telling the progress, and show what came of it; `name` is the scenario's.

    `cluster`: the Ray cluster that runs the episodes (see `executor_of`).
    """
    from deeprec_env.policies.evaluation.comparison import compare, print_comparison

    check_plot(plot)
    executor = executor_of(cluster, Threads(1))
    with console.telling("evaluate", quiet=json) as update:
        compared = compare(
            spec,
            scenario,
            policies,
            labels=labels,
            seed=seed,
            seeds=seeds,
            options=options,
            choices=choices,
            progress=update,
            trust=trust,
            executor=executor,
        )
    tell_day(name, scenario, compared.scenario, quiet=json)
    if plot is not None:
        draw(plot, compared.to_json(), name)
    if json:
        print_result(compared.to_json(), json)
    else:
        print_comparison(compared, name)
