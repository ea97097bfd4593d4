"""`deeprec serve`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from deeprec_env import console
from deeprec_env.cli.options import Json, Overrides, ScenarioArgument, Seed, print_result
from deeprec_env.extras import check_installed
from deeprec_env.scenario.load import load_scenario
from deeprec_env.simulation.simulate import with_options


def serve(
    scenario: ScenarioArgument,
    policy: Annotated[
        str | None, typer.Option(help="Who sets batch size and threshold: a policy's name or an agent's folder.")
    ] = None,
    port: Annotated[int, typer.Option(help="Listen to this port; 0: any that is free.")] = 8080,
    host: Annotated[str, typer.Option(help="Listen at this address.")] = "127.0.0.1",
    workers: Annotated[int | None, typer.Option(help="Worker processes (default: the scenario's servers).")] = None,
    queue: Annotated[int, typer.Option(help="Queries that may wait or be served at a time; others get 503.")] = 1000,
    token_file: Annotated[Path | None, typer.Option(help="Let those in who bring the token in this file.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Let everybody in, from anywhere.")] = False,
    batch_size: Annotated[int | None, typer.Option(help="Most items in a request (default: the scenario's).")] = None,
    model: Annotated[
        str | None, typer.Option(help="Run this model, or empty, in place of the one that the profile names.")
    ] = None,
    rows_scale: Annotated[
        float | None, typer.Option(help="Rows of the tables, of the published ones (default: as profiled).")
    ] = None,
    cuda: Annotated[bool, typer.Option("--cuda", help="Run the scenario's accelerator as a CUDA worker.")] = False,
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
    if model != "empty":
        check_installed("torch")
    from deeprec_env.live.run import Controller, live_scenario
    from deeprec_env.live.servers import LiveOptions
    from deeprec_env.live.service.access import read_token
    from deeprec_env.live.service.server import ServiceOptions, address_of, listen
    from deeprec_env.live.service.server import serve as serve_until_told

    node = live_scenario(load_scenario(scenario, set_ or ()), workers=workers, cuda=cuda)
    node = with_options(node, batch_size=batch_size)
    token = None if token_file is None else read_token(token_file)
    options = ServiceOptions(host, port, queue, token, insecure)
    listening = listen(options)
    with console.telling("serve", quiet=json) as tell:
        controller: Controller | None = None
        if policy is not None:
            from deeprec_env.envs import SERVING
            from deeprec_env.policies.controller import PolicyController
            from deeprec_env.policies.fixed.tune import TuneOptions
            from deeprec_env.policies.registry import prepare

            controlled = PolicyController(prepare(policy, node, TuneOptions(seed=seed), tell, SERVING))
            node, controller = controlled.scenario, controlled
        tell("workers start")
    live, address = LiveOptions(model=model, rows_scale=rows_scale, seed=seed), address_of(listening)

    def ready() -> None:
        print(f"serving at {address}", file=sys.stderr, flush=True)

    served = serve_until_told(node, listening, options, controller=controller, live=live, ready=ready)
    print_result(served.to_json(), json)
