"""`deeprec live`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deeprec_env import console
from deeprec_env.cli.on_workers import Cuda, ModelOption, PolicyOption, RowsScale, Workers, controlled_by, node_here
from deeprec_env.cli.options import BatchSize, Json, Overrides, Qps, ScenarioArgument, Seed, Split, print_result


def live(
    scenario: ScenarioArgument,
    duration: Annotated[float, typer.Option(help="Seconds of traffic.")] = 10.0,
    qps: Qps = None,
    workers: Workers = None,
    policy: PolicyOption = None,
    batch_size: BatchSize = None,
    model: ModelOption = None,
    rows_scale: RowsScale = None,
    cuda: Cuda = False,
    set_: Overrides = None,
    record: Annotated[Path | None, typer.Option(help="Record every request in this file: *.parquet or *.csv.")] = None,
    split: Split = "train",
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Run a scenario on the wall clock, with real models. The summary is as of simulate.

    The scenario's accelerator is left out unless --cuda is given. A progress bar takes time of the dispatcher's: with
    --json there is none.
    """
    from deeprec_env.live.run import run_live
    from deeprec_env.live.servers import LiveOptions

    node = node_here(scenario, set_, workers=workers, cuda=cuda, batch_size=batch_size, model=model)
    options = LiveOptions(model=model, rows_scale=rows_scale, seed=seed)
    with console.telling("live", quiet=json) as tell:
        node, controller = controlled_by(policy, node, seed, tell)
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
