"""`deeprec serve`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from deeprec_env import console
from deeprec_env.cli.on_workers import Cuda, ModelOption, PolicyOption, RowsScale, Workers, controlled_by, node_here
from deeprec_env.cli.options import BatchSize, Json, Overrides, ScenarioArgument, Seed, print_result
from deeprec_env.extras import check_installed


def serve(
    scenario: ScenarioArgument,
    policy: PolicyOption = None,
    port: Annotated[int, typer.Option(help="Listen to this port; 0: any that is free.")] = 8080,
    host: Annotated[str, typer.Option(help="Listen at this address.")] = "127.0.0.1",
    workers: Workers = None,
    spares: Annotated[
        int, typer.Option(help="More processes, started beside, that take over at once from a worker that dies.")
    ] = 1,
    queue: Annotated[int, typer.Option(help="Queries that may wait or be served at a time; others get 503.")] = 1000,
    token_file: Annotated[Path | None, typer.Option(help="Let those in who bring the token in this file.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Let everybody in, from anywhere.")] = False,
    batch_size: BatchSize = None,
    model: ModelOption = None,
    rows_scale: RowsScale = None,
    cuda: Cuda = False,
    set_: Overrides = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Serve ranking requests over HTTP. By a scenario's node and real models, until SIGTERM or Ctrl-C.

    POST /rank; GET /model, /metrics, /healthz, /readyz, and a page at /. The scenario's accelerator is left out unless
    --cuda is given. What was done is printed at the end.
    """
    for module in ("starlette", "uvicorn", "httptools", "prometheus_client"):
        check_installed(module)
    from deeprec_env.live.servers import LiveOptions
    from deeprec_env.live.service.access import read_token
    from deeprec_env.live.service.server import ServiceOptions, address_of, listen
    from deeprec_env.live.service.server import serve as serve_until_told

    node = node_here(scenario, set_, workers=workers, cuda=cuda, batch_size=batch_size, model=model)
    token = None if token_file is None else read_token(token_file)
    options = ServiceOptions(host, port, queue, token, insecure)
    listening = listen(options)
    with console.telling("serve", quiet=json) as tell:
        node, controller = controlled_by(policy, node, seed, tell)
        tell("workers start")
    live, address = LiveOptions(model=model, rows_scale=rows_scale, seed=seed, spares=spares), address_of(listening)

    def ready() -> None:
        print(f"serving at {address}", file=sys.stderr, flush=True)

    served = serve_until_told(node, listening, options, controller=controller, live=live, ready=ready)
    print_result(served.to_json(), json)
