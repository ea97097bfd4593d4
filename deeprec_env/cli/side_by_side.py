"""`deeprec simulate` of several scenarios, or of one with swept values: the same traffic for all, paired by seed."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from deeprec_env import console
from deeprec_env.arguments import whole
from deeprec_env.errors import InputError
from deeprec_env.provenance import ask
from deeprec_env.scenario.load import assignments, load_scenario
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.header import SCHEMA_VERSION, versions
from deeprec_env.simulation.simulate import Result, simulate

COMMAND = "simulate --sweep"
"""In questions."""

REPLICATIONS, MOST_REPLICATIONS, MOST_RUNS = 8, 1000, 1000

FIGURES: dict[str, Callable[[Result], float]] = {
    "mean_ms": lambda result: result.tail.mean_s * 1e3,
    "p50_ms": lambda result: result.tail.p50_s * 1e3,
    "p95_ms": lambda result: result.tail.p95_s * 1e3,
    "p99_ms": lambda result: result.tail.p99_s * 1e3,
    "goodput_qps": lambda result: result.goodput.goodput_qps,
    "shed_rate": lambda result: result.goodput.shed_rate,
    "joules_per_query": lambda result: result.usage.joules_per_query,
}


def variants(scenarios: Sequence[str], overrides: Sequence[str], sweeps: Sequence[str]) -> dict[str, Scenario]:
    """By name, each scenario with each combination of the swept values; `InputError` for a sweep that is none."""
    fixed = dict(assignments("--set", overrides))
    swept = [_values(text) for text in sweeps]
    found: dict[str, Scenario] = {}
    for given in scenarios:
        for values in itertools.product(*(values for _, values in swept)):
            chosen = dict(zip((key for key, _ in swept), values, strict=True))
            parts = [*([Path(given).stem] if len(scenarios) > 1 else []), *(f"{k}={v}" for k, v in chosen.items())]
            name = ", ".join(parts)
            if name in found:
                raise InputError("scenario", given, f"must have a name of its own beside {name}")
            found[name] = load_scenario(given, fixed | chosen)
    return found


def _values(text: str) -> tuple[str, list[Any]]:
    key, equals, listed = text.partition("=")
    try:
        values = yaml.safe_load(f"[{listed}]")
    except yaml.YAMLError:
        values = None
    if not equals or not key or not values:
        raise InputError("sweep", text, "must look like key.path=value,value")
    return key, values


def side_by_side(
    scenarios: Mapping[str, Scenario],
    *,
    replications: int,
    seed: int,
    split: str,
    engine: str,
    queries: int,
    quiet: bool,
    **options: Any,
) -> dict[str, Any]:
    """Every scenario under the traffic of the same seeds: figures, and their ratios to the first one's, paired.

    A figure is the mean over the seeds `seed` .. `seed + replications - 1`, with a t interval; so is a ratio, of
    logarithms. `options` are those of `simulate` that replace settings and rates.
    """
    whole("replications", replications, 1, MOST_REPLICATIONS)
    if len(scenarios) * replications > MOST_RUNS:
        raise InputError("replications", replications, f"must leave at most {MOST_RUNS} runs, of {len(scenarios)} each")
    runs: dict[str, list[Result]] = {name: [] for name in scenarios}
    with console.progress("simulate", len(scenarios) * replications, quiet=quiet) as update:
        for number in range(replications):
            for name, scenario in scenarios.items():
                one = simulate(scenario, seed=seed + number, split=split, engine=engine, queries=queries, **options)
                runs[name].append(one)
                update(name, 1)
    return answer(runs, replications=replications, seed=seed, split=split, engine=engine, queries=queries)


def answer(
    runs: Mapping[str, Sequence[Result]], *, replications: int, seed: int, split: str, engine: str, queries: int
) -> dict[str, Any]:
    """The JSON of some runs, each a list by seed."""
    from deeprec_env.policies.evaluation import paired

    values = {
        name: {figure: [of(result) for result in results] for figure, of in FIGURES.items()}
        for name, results in runs.items()
    }
    first = next(iter(values))
    entries: dict[str, Any] = {}
    for name, figures in values.items():
        entry: dict[str, Any] = {}
        for figure, each in figures.items():
            scale = paired.SHARE if figure == "shed_rate" else paired.POSITIVE
            estimate = paired.mean(each, scale)
            entry |= {figure: estimate.known, f"{figure}_ci": estimate.ci}
        entry["verdicts"] = [result.verdict for result in runs[name]]
        if name != first:
            ratios = {figure: paired.ratio(each, values[first][figure]) for figure, each in figures.items()}
            entry["vs"] = {first: {figure: each and each.as_ratio() for figure, each in ratios.items()}}
        entries[name] = entry
    streams = {name: [result.streams_sha256 for result in results] for name, results in runs.items()}
    question = ask(
        COMMAND,
        None,
        seed=seed,
        split=split,
        engine=engine,
        queries=queries,
        replications=replications,
        scenarios={name: results[0].scenario.model_dump(mode="json") for name, results in runs.items()},
    )
    return {
        "schema_version": SCHEMA_VERSION,
        "seeds": list(range(seed, seed + replications)),
        "queries": queries,
        "same_traffic": len({tuple(each) for each in streams.values()}) == 1,
        "runs": entries,
        "streams_sha256": streams,
        "question": question.to_json(),
        "versions": versions(),
    }


def print_side_by_side(payload: Mapping[str, Any]) -> None:
    """A table: figures with intervals, and the paired ratio of the p95."""
    runs = payload["runs"]
    first = next(iter(runs))
    rows = []
    for name, entry in runs.items():
        versus = entry.get("vs", {}).get(first, {}).get("p95_ms")
        verdicts = Counter(entry["verdicts"])
        rows.append(
            [
                name,
                *(_with_ci(entry[figure], entry[f"{figure}_ci"]) for figure in ("p95_ms", "p99_ms", "goodput_qps")),
                _with_ci(entry["joules_per_query"], entry["joules_per_query_ci"]),
                ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())),
                "" if versus is None else _with_ci(versus["ratio"], versus["ci"]),
            ]
        )
    same = "the same traffic" if payload["same_traffic"] else "traffic of the same seeds"
    title = f"{len(payload['seeds'])} runs each of {payload['queries']} queries, {same}, intervals of 95 %"
    columns = ("", "p95 ms", "p99 ms", "goodput qps", "J/query", "verdicts", f"p95 / that of {first}")
    console.print_table(title, columns, rows)


def _with_ci(value: float | None, ci: Sequence[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" + (f" [{ci[0]:.4g}, {ci[1]:.4g}]" if ci else "")
