"""`deeprec rerun`: a result's question asked again, and the figures compared."""

from __future__ import annotations

import inspect
import json as json_format
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from deeprec_env import console
from deeprec_env.cli.agents import load_training
from deeprec_env.cli.figures import differences, figures, read_known
from deeprec_env.cli.options import Json
from deeprec_env.cli.rerun_tables import TABLES
from deeprec_env.envs.environments import find_spec
from deeprec_env.errors import InputError
from deeprec_env.files import check_writable, replacing
from deeprec_env.provenance import KEY, Question, asked
from deeprec_env.simulation.header import SCHEMA_VERSION

SHOWN = 10
"""Differences that are shown to a reader."""


def rerun(
    result: Annotated[Path, typer.Argument(metavar="RESULT.json", help="What a command printed with --json.")],
    output: Annotated[Path | None, typer.Option(help="Write the repeated result to this file.")] = None,
    json: Json = False,
) -> None:
    """Repeat a result and compare its figures. Exit status 0: the same, 1: not."""
    before = read_known(result)
    if output is not None:
        check_writable("output", output)
    question = Question.of_json(before[KEY])
    if question.unrepeatable:
        raise InputError("result", str(result), f"can't be had again from its {KEY}: {question.unrepeatable}")
    if question.command not in RUNNERS:
        raise InputError(f"{KEY}.command", question.command, f"must be one of {', '.join(RUNNERS)}")
    with console.progress(f"rerun {question.command}", None, quiet=json):
        after = RUNNERS[question.command](replace(question, sources=""), before)
    if output is not None:
        with replacing(output) as file:
            file.write(console.json_text(after | {KEY: {"line": before[KEY].get("line", ""), **after[KEY]}}) + "\n")
    found = differences(figures(before), figures(after))
    sources = {"before": question.sources, "now": after[KEY]["sources"]}
    if json:
        named = {key: {"before": old, "now": new} for key, (old, new) in found.items()}
        console.print_json(
            {"schema_version": SCHEMA_VERSION, "same": not found, "differences": named, "sources": sources}
        )
    else:
        _tell(found, sources)
    if found:
        raise typer.Exit(1)


def _tell(found: Mapping[str, tuple[Any, Any]], sources: Mapping[str, str]) -> None:
    if sources["before"] != sources["now"]:
        typer.echo(f"other sources: {sources['before']} before, {sources['now']} now", err=True)
    if not found:
        typer.echo("same")
        return
    typer.echo(f"not the same: {len(found)} of its figures differ")
    for key, (old, new) in list(found.items())[:SHOWN]:
        typer.echo(f"{key}: {json_format.dumps(old)} before, {json_format.dumps(new)} now")
    if len(found) > SHOWN:
        typer.echo(f"... and {len(found) - SHOWN} more (--json has them all)")


def _simulate(question: Question, before: Mapping[str, Any]) -> dict[str, Any]:
    from deeprec_env.simulation.simulate import simulate

    arguments = _arguments(question.arguments, simulate) | {"records": None}  # which the figures do not depend on
    found = simulate(question.about, seed=question.seed, split=question.split, engine=question.engine, **arguments)
    return replace(found, question=question).to_json()


def _capacity(question: Question, before: Mapping[str, Any]) -> dict[str, Any]:
    from deeprec_env.analysis.capacity import find_capacity

    arguments = _arguments(question.arguments, find_capacity)
    return find_capacity(
        question.about, seed=question.seed, split=question.split, engine=question.engine, **arguments
    ).to_json()


def _sweep(question: Question, before: Mapping[str, Any]) -> dict[str, Any]:
    from deeprec_env.analysis.sweep import Sweep

    arguments = _arguments(question.arguments, Sweep)
    with tempfile.TemporaryDirectory() as folder:
        kept = {"folder": Path(folder), "pictures": ()}
        sweep = Sweep(question.about, seed=question.seed, engine=question.engine, **arguments | kept)
        sweep.run()
        return sweep.to_json()


def _tune(question: Question, before: Mapping[str, Any]) -> dict[str, Any]:
    from deeprec_env.policies.fixed.tune import TuneOptions, tune

    given = {name: value for name, value in question.arguments.items() if name != "method"}
    options = TuneOptions(seed=question.seed, engine=question.engine, **_arguments(given, TuneOptions))
    return tune(question.about, str(question.arguments.get("method")), options).to_json()


def _evaluate(question: Question, before: Mapping[str, Any]) -> dict[str, Any]:
    from deeprec_env.policies.evaluation.comparison import compare, is_here
    from deeprec_env.policies.evaluation.evaluation import evaluation_of
    from deeprec_env.policies.fixed.tune import TuneOptions

    arguments = dict(question.arguments)
    spec = find_spec(str(arguments.pop("environment", "")))
    tuning = _arguments(arguments.pop("options", {}), TuneOptions)
    arguments = _arguments(arguments, compare)
    evaluation, actions = evaluation_of(spec), before.get("actions", {})
    labels, policies = (arguments.get(name) for name in ("labels", "policies"))
    if not (isinstance(labels, list) and isinstance(policies, list) and len(labels) == len(policies)):
        raise InputError(f"{KEY}.arguments.policies", policies, "must be a list, with a label for each")
    named = zip(map(str, labels), map(str, policies), strict=True)
    recorded = {label: actions.get(label) for label, policy in named if not is_here(evaluation, policy)}
    for label in recorded:
        typer.echo(f"{label} is not here: what it did is done again, and its capacity is not measured", err=True)
    options = TuneOptions(engine=question.engine, **tuning)
    answer = compare(
        spec, question.about, seed=question.seed, options=options, recorded=recorded, **arguments
    ).to_json()
    for label in recorded:
        known = before.get("policies", {}).get(label, {})
        answer["policies"][label] |= {key: known[key] for key in ("capacity_qps", "capacity_ratio") if key in known}
    return answer


def _train(question: Question, before: Mapping[str, Any]) -> dict[str, Any]:
    TrainSettings, train = load_training()
    arguments = _arguments(question.arguments, TrainSettings)
    spec = find_spec(str(arguments.get("env")))
    with tempfile.TemporaryDirectory() as folder:
        hyperparams = Path(folder) / "hyperparams.yml"
        hyperparams.write_text(yaml.safe_dump({spec.hyperparams_key: arguments.get("hyperparams")}), encoding="utf-8")
        settings = TrainSettings(
            scenario=question.about,
            seed=question.seed,
            engine=question.engine,
            **arguments | {"hyperparams": hyperparams},
        )
        answer: dict[str, Any] = train(settings, Path(folder) / "run").to_json()
        return answer


def _pipeline_sweep(question: Question, before: Mapping[str, Any]) -> dict[str, Any]:
    from deeprec_env.recpipe.design_space.space import load_space, space_of
    from deeprec_env.recpipe.design_space.sweep import report, sweep

    space = space_of(load_space(question.arguments.get("config", {})))
    with tempfile.TemporaryDirectory() as folder:
        cells = sweep(space, Path(folder), seed=question.seed)
    return report(space, cells) | asked(question)


def _pipeline_search(question: Question, before: Mapping[str, Any]) -> dict[str, Any]:
    from deeprec_env.recpipe.design_space.search import search
    from deeprec_env.recpipe.design_space.space import load_space

    arguments = _arguments(question.arguments, search)
    config = load_space(arguments.pop("config", {}))
    with tempfile.TemporaryDirectory() as folder:
        return search(config, Path(folder), seed=question.seed, **arguments).to_json() | asked(question)


def _schedule(question: Question, before: Mapping[str, Any]) -> dict[str, Any]:
    from deeprec_env.recpipe.design_space.schedule import schedule
    from deeprec_env.recpipe.design_space.space import load_space, space_of

    given = {name: value for name, value in question.arguments.items() if name != "config"}
    space = space_of(load_space(question.arguments.get("config", {})))
    return schedule(space, seed=question.seed, **_arguments(given, schedule)).to_json() | asked(question)


def _arguments(given: Mapping[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of a question; `InputError` for those that the function does not have."""
    known = list(inspect.signature(function).parameters)
    for name, value in given.items():
        if name not in known:
            raise InputError(f"{KEY}.arguments.{name}", value, f"must be one of {', '.join(known)}")
    return dict(given)


RUNNERS: dict[str, Callable[[Question, Mapping[str, Any]], dict[str, Any]]] = {
    "simulate": _simulate,
    "capacity": _capacity,
    "capacity --sweep": _sweep,
    "tune": _tune,
    "evaluate": _evaluate,
    "train": _train,
    "pipeline sweep": _pipeline_sweep,
    "pipeline sweep --sampler optuna": _pipeline_search,
    "pipeline schedule": _schedule,
    **TABLES,
}
"""By command: asks a question again, given the answer that it had."""
