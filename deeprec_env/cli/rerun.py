"""`deeprec rerun`: a result's question asked again, and the figures compared."""

from __future__ import annotations

import inspect
import json as json_format
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from deeprec_env import console
from deeprec_env.cli.agents import load_training
from deeprec_env.cli.compare import Trust
from deeprec_env.cli.options import Json
from deeprec_env.cli.rerun_tables import TABLES
from deeprec_env.cli.side_by_side import side_by_side
from deeprec_env.envs.environments import find_spec
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.errors import InputError
from deeprec_env.files import check_writable, replacing
from deeprec_env.progress import Progress, silent
from deeprec_env.provenance import KEY, Question, asked
from deeprec_env.report.figures import differences, figures, read_known
from deeprec_env.scenario.load import load_scenario
from deeprec_env.simulation.header import SCHEMA_VERSION

if TYPE_CHECKING:
    from deeprec_env.policies.fixed.tune import TuneOptions

SHOWN = 10
"""Differences that are shown to a reader."""


def rerun(
    result: Annotated[Path, typer.Argument(metavar="RESULT.json", help="What a command printed with --json.")],
    output: Annotated[Path | None, typer.Option(help="Write the repeated result to this file.")] = None,
    trust: Trust = False,
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
    run = RUNNERS[question.command]
    if trust:
        if run is not _evaluate:
            raise InputError("trust", trust, f"must be left out: {question.command} reads no agents")
        run = partial(_evaluate, trust=True)
    with console.progress(f"rerun {question.command}", None, quiet=json):
        after = run(replace(question, sources=""), before)
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
    from deeprec_env.fleet.simulate import simulate_fleet
    from deeprec_env.simulation.simulate import simulate

    arguments = _arguments(question.arguments, simulate) | {"records": None}  # which the figures do not depend on
    asked_again = {"seed": question.seed, "split": question.split, "engine": question.engine, **arguments}
    if question.about.fleet is not None:
        return replace(simulate_fleet(question.about, **asked_again), question=question).to_json()
    return replace(simulate(question.about, **asked_again), question=question).to_json()


def _side_by_side(question: Question, before: Mapping[str, Any]) -> dict[str, Any]:
    arguments = _arguments(question.arguments, side_by_side)
    named = question.arguments.get("scenarios")
    if not isinstance(named, dict) or not named:
        raise InputError(f"{KEY}.arguments.scenarios", named, "must be a mapping from name to scenario")
    scenarios = {name: load_scenario(scenario) for name, scenario in named.items()}
    asked = {"seed": question.seed, "split": question.split, "engine": question.engine, "quiet": True}
    return side_by_side(**arguments | {"scenarios": scenarios} | asked)


def _explain(question: Question, before: Mapping[str, Any]) -> dict[str, Any]:
    from deeprec_env.fleet.simulate import simulate_fleet
    from deeprec_env.simulation.simulate import simulate
    from deeprec_env.timeline.explain import explain
    from deeprec_env.timeline.explain_fleet import explain_fleet

    arguments = dict(question.arguments)
    slowest = arguments.pop("slowest", None)
    arguments = _arguments(arguments, simulate) | {"records": None}
    asked_again = {"seed": question.seed, "split": question.split, "engine": question.engine, **arguments}
    before_that = replace(question, command="simulate", arguments=arguments)
    if question.about.fleet is not None:
        fleet = simulate_fleet(question.about, **asked_again)
        return explain_fleet(replace(fleet, question=before_that), slowest).to_json()
    return explain(replace(simulate(question.about, **asked_again), question=before_that), slowest).to_json()


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


def _evaluate(question: Question, before: Mapping[str, Any], trust: bool = False) -> dict[str, Any]:
    from deeprec_env.policies.evaluation.comparison import compare, is_here
    from deeprec_env.policies.evaluation.evaluation import evaluation_of

    spec, options, arguments = _comparison(question)
    evaluation, actions = evaluation_of(spec), before.get("actions", {})
    named = zip(arguments["labels"], arguments["policies"], strict=True)
    recorded = {label: actions.get(label) for label, policy in named if not is_here(evaluation, policy)}
    for label in recorded:
        typer.echo(f"{label} is not here: what it did is done again, and its capacity is not measured", err=True)
    answer = compare(
        spec, question.about, seed=question.seed, options=options, recorded=recorded, trust=trust, **arguments
    ).to_json()
    for label in recorded:
        known = before.get("policies", {}).get(label, {})
        answer["policies"][label] |= {key: known[key] for key in ("capacity_qps", "capacity_ratio") if key in known}
    return answer


def replayed(
    question: Question, actions: Mapping[str, Any], labels: Collection[str], progress: Progress = silent
) -> dict[str, Any]:
    """An evaluation's answer for some of its rows, from what each did (`actions`, by label); no policy runs."""
    from deeprec_env.policies.evaluation.comparison import compare

    spec, options, arguments = _comparison(question)
    pairs = zip(arguments.pop("labels"), arguments.pop("policies"), strict=True)
    chosen = {label: policy for label, policy in pairs if label in labels}
    return compare(
        spec,
        question.about,
        list(chosen.values()),
        labels=list(chosen),
        seed=question.seed,
        options=options,
        recorded={label: actions[label] for label in chosen},
        progress=progress,
        **arguments,
    ).to_json()


def _comparison(question: Question) -> tuple[EnvSpec, TuneOptions, dict[str, Any]]:
    """The environment, the options of tuning and the further arguments that an evaluation was asked with."""
    from deeprec_env.policies.evaluation.comparison import compare
    from deeprec_env.policies.fixed.tune import TuneOptions

    arguments = dict(question.arguments)
    spec = find_spec(str(arguments.pop("environment", "")))
    tuning = _arguments(arguments.pop("options", {}), TuneOptions)
    if "trust" in arguments:  # whoever runs this says so, and not the file
        raise InputError(f"{KEY}.arguments.trust", arguments["trust"], "must be left out")
    arguments = _arguments(arguments, compare)
    labels, policies = (arguments.get(name) for name in ("labels", "policies"))
    if not (isinstance(labels, list) and isinstance(policies, list) and len(labels) == len(policies)):
        raise InputError(f"{KEY}.arguments.policies", policies, "must be a list, with a label for each")
    arguments |= {"labels": [str(label) for label in labels], "policies": [str(policy) for policy in policies]}
    return spec, TuneOptions(engine=question.engine, **tuning), arguments


def _train(question: Question, before: Mapping[str, Any]) -> dict[str, Any]:
    training = load_training()
    with tempfile.TemporaryDirectory() as folder:
        settings = _train_settings(training, question.arguments, question, Path(folder))
        answer: dict[str, Any] = training.train(settings, Path(folder) / "run").to_json()
        return answer


def _train_seeds(question: Question, before: Mapping[str, Any]) -> dict[str, Any]:
    training = load_training()
    from deeprec_env.agents.seeds import train_seeds

    arguments = dict(question.arguments)
    seeds = arguments.pop("seeds", None)
    with tempfile.TemporaryDirectory() as folder:
        settings = _train_settings(training, arguments, question, Path(folder))
        return train_seeds(settings, seeds, Path(folder) / "run").to_json()


def _train_search(question: Question, before: Mapping[str, Any]) -> dict[str, Any]:
    training = load_training()
    from deeprec_env.agents.search import Search

    arguments = dict(question.arguments)
    trials = arguments.pop("trials", None)
    with tempfile.TemporaryDirectory() as folder:
        settings = _train_settings(training, arguments, question, Path(folder))
        return Search(settings, Path(folder) / "run", trials).run().to_json()


def _train_settings(training: Any, given: Mapping[str, Any], question: Question, folder: Path) -> Any:
    """The settings of a training, with its hyperparameters in a file of `folder`."""
    arguments = _arguments(given, training.TrainSettings)
    spec = find_spec(str(arguments.get("env")))
    hyperparams = folder / "hyperparams.yml"
    hyperparams.write_text(yaml.safe_dump({spec.hyperparams_key: arguments.get("hyperparams")}), encoding="utf-8")
    return training.TrainSettings(
        scenario=question.about,
        seed=question.seed,
        engine=question.engine,
        **arguments | {"hyperparams": hyperparams},
    )


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
    "simulate --sweep": _side_by_side,
    "explain": _explain,
    "capacity": _capacity,
    "capacity --sweep": _sweep,
    "tune": _tune,
    "evaluate": _evaluate,
    "train": _train,
    "train --seeds": _train_seeds,
    "train --search": _train_search,
    "pipeline sweep": _pipeline_sweep,
    "pipeline sweep --sampler optuna": _pipeline_search,
    "pipeline schedule": _schedule,
    **TABLES,
}
"""By command: asks a question again, given the answer that it had."""
