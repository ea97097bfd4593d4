"""How `deeprec rerun` asks again what is about no scenario: RecPipe's and DeepRecSys's tables, profiles."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deeprec_env.cli.pipeline import cache_json, replay_json, rpaccel_json
from deeprec_env.cli.pipeline_paper import figure_json, headlines_json
from deeprec_env.cli.profile import comparison_json, thread_counts
from deeprec_env.errors import InputError
from deeprec_env.provenance import KEY, Question
from deeprec_env.scenario.load import load_scenario

Answer = dict[str, Any]


def _replay(question: Question, before: Mapping[str, Any]) -> Answer:
    from deeprec_env.recpipe.replay.predict import replay
    from deeprec_env.recpipe.replay.runs import read_runs

    runs, service = Path(_text(question, "runs")), _text(question, "service")
    return replay_json(runs, service, question.seed, replay(read_runs(runs), service, seed=question.seed))


def _rpaccel(question: Question, before: Mapping[str, Any]) -> Answer:
    return rpaccel_json(_whole(question, "items"), _text(question, "fidelity"), question.seed)


def _cache(question: Question, before: Mapping[str, Any]) -> Answer:
    compare = question.arguments.get("compare")
    published = None if compare is None else Path(_text(question, "compare"))
    return cache_json(_text(question, "policy"), _whole(question, "samples"), published, question.seed)


def _figure(question: Question, before: Mapping[str, Any]) -> Answer:
    from deeprec_env.recpipe.figures.registry import write_figure

    number = _text(question, "number")
    with tempfile.TemporaryDirectory() as folder:
        rows = write_figure(number, Path(folder), question.seed)
    return figure_json(number, question.seed, rows, [])


def _headlines(question: Question, before: Mapping[str, Any]) -> Answer:
    from deeprec_env.recpipe.figures.headlines import headlines

    quick = question.arguments.get("quick") is True
    return headlines_json(headlines(question.seed, poisson=not quick), question.seed, quick)


def _paper(question: Question, before: Mapping[str, Any]) -> Answer:
    from deeprec_env.policies.paper.gains import PaperRun
    from deeprec_env.policies.paper.table import gains, to_json

    models = question.arguments.get("models")
    if not isinstance(models, list):
        raise InputError(f"{KEY}.arguments.models", models, "must be a list")
    with tempfile.TemporaryDirectory() as folder:
        run = PaperRun(Path(folder), models, question.seed)
        run.run(lambda what, done: None)
    return to_json(run.rows, gains(run.rows), {}, run.question)


def _fleet_paper(question: Question, before: Mapping[str, Any]) -> Answer:
    from deeprec_env.policies.fleet.claims import FleetPaper

    machines, seeds = (_whole(question, name) for name in ("machines", "seeds"))
    with tempfile.TemporaryDirectory() as folder:
        run = FleetPaper(Path(folder), machines, question.seed, seeds)
        run.run(lambda what, done: None)
    return run.to_json()


def _controls(question: Question, before: Mapping[str, Any]) -> Answer:
    from deeprec_env.analysis.controls import ControlsRun
    from deeprec_env.cli.controls_table import lines, to_json

    scenarios, loads = (question.arguments.get(name) for name in ("scenarios", "loads"))
    if not isinstance(scenarios, dict):
        raise InputError(f"{KEY}.arguments.scenarios", scenarios, "must be a mapping")
    if not isinstance(loads, list):
        raise InputError(f"{KEY}.arguments.loads", loads, "must be a list")
    named = {name: load_scenario(described) for name, described in scenarios.items()}
    with tempfile.TemporaryDirectory() as folder:
        counts = {name: _whole(question, name) for name in ("queries", "seeds")}
        run = ControlsRun(Path(folder), named, loads=loads, seed=question.seed, **counts)
        run.run()
    return to_json(run, lines(run.rows), {})


def _comparison(question: Question, before: Mapping[str, Any]) -> Answer:
    from deeprec_env.latency.comparison import compare
    from deeprec_env.latency.profile import load_profile

    a, b = _text(question, "a"), _text(question, "b")
    threads = None if question.arguments.get("threads") is None else _text(question, "threads")
    compared = compare(load_profile(a), load_profile(b), thread_counts(threads))
    typed = {name: before.get(name) for name in ("a", "b")}
    return comparison_json(a, b, threads, compared, {}) | typed


def _text(question: Question, name: str) -> str:
    value = question.arguments.get(name)
    if not isinstance(value, str):
        raise InputError(f"{KEY}.arguments.{name}", value, "must be a text")
    return value


def _whole(question: Question, name: str) -> int:
    value = question.arguments.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{KEY}.arguments.{name}", value, "must be a whole number")
    return value


TABLES: dict[str, Callable[[Question, Mapping[str, Any]], Answer]] = {
    "pipeline replay": _replay,
    "pipeline rpaccel": _rpaccel,
    "pipeline cache": _cache,
    "pipeline figure": _figure,
    "pipeline headlines": _headlines,
    "paper": _paper,
    "fleet paper": _fleet_paper,
    "controls": _controls,
    "profile compare": _comparison,
}
