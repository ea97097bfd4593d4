"""`deeprec live`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deeprec_env import console
from deeprec_env.cli.options import Json, Overrides, ScenarioArgument, Seed, print_result
from deeprec_env.extras import check_installed
from deeprec_env.scenario.load import load_scenario
from deeprec_env.simulation.simulate import with_options


def live(
    scenario: ScenarioArgument,
    duration: Annotated[float, typer.Option(help="Seconds of traffic.")] = 10.0,
    qps: Annotated[float | None, typer.Option(help="Stationary arrivals at this rate.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes (default: the scenario's servers).")] = None,
    policy: Annotated[
        str | None, typer.Option(help="Who sets batch size and threshold: a policy's name or an agent's folder.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Most items in a request (default: the scenario's).")] = None,
    model: Annotated[
        str | None, typer.Option(help="Run this model, or empty, in place of those that the profiles name.")
    ] = None,
    rows_scale: Annotated[
        float | None, typer.Option(help="Rows of the tables, of the published ones (default: as profiled).")
    ] = None,
    cuda: Annotated[bool, typer.Option("--cuda", help="Run the scenario's accelerator as a CUDA worker.")] = False,
    set_: Overrides = None,
    record: Annotated[Path | None, typer.Option(help="Record every request in this file: *.parquet or *.csv.")] = None,
    split: Annotated[str, typer.Option(help="Stream: train, validation or test.")] = "train",
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Run a scenario on the wall clock, with real models. The summary is as of simulate.

    The scenario's accelerator is left out unless --cuda is given. A progress bar takes time of the dispatcher's: with
    --json there is none.
    """
    from deeprec_env.live.run import Controller, live_scenario, run_live
    from deeprec_env.live.servers import LiveOptions

    if model != "empty":
        check_installed("torch")
    node = live_scenario(load_scenario(scenario, set_ or ()), workers=workers, cuda=cuda)
    node = with_options(node, batch_size=batch_size)
    options = LiveOptions(model=model, rows_scale=rows_scale, seed=seed)
    with console.telling("live", quiet=json) as tell:
        controller: Controller | None = None
        if policy is not None:
            from deeprec_env.envs import SERVING
            from deeprec_env.policies.controller import PolicyController
            from deeprec_env.policies.fixed.tune import TuneOptions
            from deeprec_env.policies.registry import prepare

            controlled = PolicyController(prepare(policy, node, TuneOptions(seed=seed), tell, SERVING))
            node, controller = controlled.scenario, controlled
        result = run_live(
            node,
            duration_s=duration,
            qps=qps,
            controller=controller,
            options=options,
            seed=seed,
            split=split,
            record_to=record,
            progress=tell,
        )
    print_result(result.to_json(), json)
