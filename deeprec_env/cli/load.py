"""`deeprec load`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deeprec_env import console
from deeprec_env.cli.options import Json, Seed, print_result


def load(
    url: Annotated[str, typer.Argument(help="A service's address, such as http://127.0.0.1:8080.")],
    qps: Annotated[float | None, typer.Option(help="Queries a second; none: as many as the connections can.")] = None,
    duration: Annotated[float, typer.Option(help="Seconds of traffic.")] = 10.0,
    connections: Annotated[int, typer.Option(help="Most connections.")] = 64,
    items: Annotated[int | None, typer.Option(help="Items of a query (default: the most that is taken).")] = None,
    best: Annotated[int | None, typer.Option(help="Ask for so many of the best items.")] = None,
    deadline: Annotated[float | None, typer.Option(help="Milliseconds that a query has (default: any).")] = None,
    binary: Annotated[bool, typer.Option("--binary", help="Send safetensors in place of JSON.")] = False,
    token_file: Annotated[Path | None, typer.Option(help="Bring the token in this file.")] = None,
    json: Json = False,
    seed: Seed = 0,
) -> None:
    """Load a service with an open loop. Queries are sent at their drawn times, whatever it does.

    Latency is from the drawn time. Without --qps the loop is closed: a connection sends its next query when it has its
    answer, which measures how many there can be, and no latency that anybody would see.
    """
    from deeprec_env.live.service.access import read_token
    from deeprec_env.live.service.client import LoadOptions
    from deeprec_env.live.service.client import load as load_service

    token = None if token_file is None else read_token(token_file)
    options = LoadOptions(qps, duration, connections, items, best, deadline, binary, token, seed)
    with console.telling("load", quiet=json):
        result = load_service(url, options)
    print_result(result.to_json(), json)
