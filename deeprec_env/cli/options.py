"""Options that several commands share, and how their results are printed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.errors import InputError
from deeprec_env.provenance import KEY
from deeprec_env.scenario.bounds import Threshold
from deeprec_env.scenario.load import fleet_names, pipeline_names, preset_names
from deeprec_env.scenario.threshold import NEVER, read_threshold
from deeprec_env.simulation.simulate import FromScenario


def _scenarios(incomplete: str) -> list[str]:
    """For a shell's completion: the presets, beside the files that it knows itself."""
    return [name for name in preset_names() + pipeline_names() + fleet_names() if name.startswith(incomplete)]


ScenarioArgument = Annotated[
    str,
    typer.Argument(help="A preset's name (see 'deeprec scenarios') or a YAML file.", autocompletion=_scenarios),
]
ScenarioArguments = Annotated[
    list[str],
    typer.Argument(
        metavar="scenario...",
        help="A preset's name (see 'deeprec scenarios') or a YAML file; of several each meets the same traffic.",
        autocompletion=_scenarios,
    ),
]
Qps = Annotated[float | None, typer.Option(help="Stationary arrivals at this rate.")]
Split = Annotated[str, typer.Option(help="Stream: train, validation or test.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Change a scenario's value: key.path=value.")]
BatchSize = Annotated[int | None, typer.Option(help="Most items in a request (default: the scenario's).")]
ThresholdOption = Annotated[str | None, typer.Option(help="Offload queries of at least this many items, or never.")]
PlanOption = Annotated[str | None, typer.Option("--plan", help="A plan's name or index (default: the scenario's).")]
SplitRule = Annotated[str | None, typer.Option(help="Cut queries into full requests, or into even ones: full or even.")]
OrderOption = Annotated[
    str | None, typer.Option("--order", help="Order of the queues: fcfs, small-first or least-slack.")
]
OffloadOption = Annotated[
    str | None, typer.Option("--offload", help="Who is offloaded: threshold (by items) or predicted (by completion).")
]
AdmitOption = Annotated[
    str | None, typer.Option("--admit", help="Shed queries predicted to take more milliseconds, or never.")
]
Arrivals = Annotated[
    str, typer.Option(help="Traffic at a rate: poisson, or scenario (its own process; a stationary one).")
]
Engine = Annotated[str, typer.Option(help="Simulation engine: compiled or asyncio (the same bytes).")]
Cluster = Annotated[
    str | None,
    typer.Option(help="Do the work on a Ray cluster: auto (the one of this machine) or HOST:PORT.", metavar="ADDRESS"),
]
Pictures = Annotated[
    str | None, typer.Option(help="Kinds of the pictures: png, pdf, svg, comma-separated (default: png).")
]


PlotFile = Annotated[Path | None, typer.Option("--plot", help="Draw the figures: *.png, *.pdf or *.svg.")]


def _seed(value: int) -> int:
    if value < 0:
        raise InputError("seed", value, "must be a whole number of at least 0")
    return value


Seed = Annotated[int, typer.Option(help="Seed of everything random.", callback=_seed)]


_SAID = ("line", "seed", "split", "engine", "sources")
"""What is said of a question to a reader; the rest is in the JSON."""


SOURCES = {"question.sources": "digest of the code that computed this: 'deeprec rerun' says whether it is still yours"}
"""What is not plain of a question."""


def print_result(payload: dict[str, Any], json: bool, notes: Mapping[str, str] | None = None) -> None:
    """The payload as one JSON object, or as lines for a reader; its question with the command line.

    `notes`: what some figures are, in words, for a reader.
    """
    payload = with_line(payload)
    if json:
        console.print_json(payload)
        return
    question = payload.get(KEY, {})
    said = {name: question[name] for name in _SAID if name in question}
    console.print_facts({key: said if key == KEY else value for key, value in payload.items()})
    if notes:
        console.print_notes(notes)


def with_line(payload: dict[str, Any]) -> dict[str, Any]:
    """The payload with the command line in its question, if it has one."""
    if KEY not in payload:
        return payload
    return {**payload, KEY: {"line": console.typed_line(), **payload[KEY]}}


def threshold_of(text: str | None) -> Threshold | FromScenario:
    """The threshold that `--threshold` gives; without it, the scenario's."""
    return "scenario" if text is None else read_threshold(text)


def admit_of(text: str | None) -> float | FromScenario | None:
    """The limit in milliseconds that `--admit` gives, None for none; without it, the scenario's."""
    if text is None:
        return "scenario"
    if text.strip().lower() in NEVER:
        return None
    try:
        return float(text)
    except ValueError:
        raise InputError("admit", text, "must be milliseconds above 0, or never") from None


def whole_numbers(field: str, text: str) -> tuple[int, ...]:
    """Whole numbers, comma-separated; `InputError` names `field`."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(field, text, "must be whole numbers") from None


def real_numbers(field: str, text: str) -> tuple[float, ...]:
    """Numbers, comma-separated; `InputError` names `field`."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(field, text, "must be numbers, comma-separated") from None
