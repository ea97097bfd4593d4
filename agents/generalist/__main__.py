"""The generalist's training in one command: services, their simulation, the fit, the file.

python -m deeprec_env.agents.generalist OUTPUT [--services 3000] [--data FOLDER] [--seed 0]
"""

from __future__ import annotations

import platform
import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.agents.generalist.data import IN_A_FILE, QUERIES, RATES, SETTINGS, WARMUP, make_data, read_data
from deeprec_env.arguments import whole
from deeprec_env.cores import usable_cores
from deeprec_env.errors import InputError
from deeprec_env.extras import check_installed
from deeprec_env.files import check_writable
from deeprec_env.policies.adaptive.tail_network import write_network
from deeprec_env.simulation.header import versions


def train(
    output: Annotated[Path, typer.Argument(help="The file of the network, .safetensors.")],
    services: Annotated[int, typer.Option(help="Random services, a multiple of 20.")] = 3000,
    data: Annotated[
        Path, typer.Option(help="Folder of the simulated tails; what is there already is not simulated again.")
    ] = Path("runs/generalist"),
    processes: Annotated[int | None, typer.Option(help="That simulate (default: the cores there are).")] = None,
    seed: Annotated[int, typer.Option(help="Of services and network.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train the generalist (needs the extra 'agents')."""
    if services % IN_A_FILE or services <= 0:
        raise InputError("services", services, f"must be a multiple of {IN_A_FILE} above 0")
    whole("processes", processes or 1, 1)
    whole("seed", seed, 0)
    check_installed("torch")
    check_writable("output", output)
    kept = f"what was simulated is in {data}; the same command goes on"
    began_s = time.perf_counter()
    with console.progress("simulating services", services, quiet=json, kept=kept) as update:
        make_data(data, services, seed, processes or usable_cores(), lambda done: update("simulating services", done))
    simulated_s = time.perf_counter()
    from deeprec_env.agents.generalist.fit import EPOCHS, fit

    with console.progress("fitting", EPOCHS, quiet=json, kept=kept) as update:
        fitted = fit(read_data(data, services, seed), seed, lambda done: update("fitting", done))
    asked = f"{shlex.quote(output.name)} --services {services} --seed {seed}"
    facts: dict[str, Any] = {
        "command": f"python -m deeprec_env.agents.generalist {asked}",
        "services": services,
        "of_a_service": {"settings": SETTINGS, "rates": RATES, "queries": QUERIES, "warmup": WARMUP},
        "seed": seed,
        "error_ln_p95_p99": fitted.error,
        "queueing_error_ln_p95_p99": fitted.queueing_error,
        "versions": {**versions(), "python": platform.python_version(), **_torch_version()},
    }
    write_network(output, fitted.tensors, facts)
    timed = {"simulated_s": simulated_s - began_s, "fitted_s": time.perf_counter() - simulated_s}
    answer = facts | timed | {"output": str(output), "bytes": output.stat().st_size}
    if json:
        console.print_json(answer)
    else:
        console.print_facts(answer)


def _torch_version() -> dict[str, str]:
    import torch

    return {"torch": torch.__version__}


app = console.application("The generalist's training.")
app.command()(train)


def main(arguments: list[str] | None = None) -> None:
    """`python -m deeprec_env.agents.generalist`."""
    console.run(app, "deeprec_env.agents.generalist", arguments)


if __name__ == "__main__":
    main()
