"""What commands share that run a scenario's node with real models: `live` and `serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deeprec_env.extras import check_installed
from deeprec_env.progress import Progress
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.simulate import with_options

if TYPE_CHECKING:
    from deeprec_env.live.run import Controller

PolicyOption = Annotated[
    str | None,
    typer.Option("--policy", help="Who sets batch size and threshold: a policy's name or an agent's folder."),
]
Workers = Annotated[int | None, typer.Option(help="Worker processes (default: the scenario's servers).")]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="Run this model, or empty, in place of those that the profiles name.")
]
RowsScale = Annotated[
    float | None, typer.Option(help="Rows of the tables, of the published ones (default: as profiled).")
]
Cuda = Annotated[bool, typer.Option("--cuda", help="Run the scenario's accelerator as a CUDA worker.")]


def node_here(
    scenario: str,
    changes: list[str] | None,
    *,
    workers: int | None,
    cuda: bool,
    batch_size: int | None,
    model: str | None,
) -> Scenario:
    """The scenario that the options ask for, as this machine can run it."""
    if model != "empty":
        check_installed("torch")
    from deeprec_env.live.run import live_scenario

    return with_options(
        live_scenario(load_scenario(scenario, changes or ()), workers=workers, cuda=cuda), batch_size=batch_size
    )


def controlled_by(policy: str | None, node: Scenario, seed: int, tell: Progress) -> tuple[Scenario, Controller | None]:
    """The node that a policy has (its own interval, say), and what sets the controls; None: nobody does."""
    if policy is None:
        return node, None
    from deeprec_env.envs import SERVING
    from deeprec_env.policies.controller import PolicyController
    from deeprec_env.policies.fixed.tune import TuneOptions
    from deeprec_env.policies.registry import prepare

    controller = PolicyController(prepare(policy, node, TuneOptions(seed=seed), tell, SERVING))
    return controller.scenario, controller
