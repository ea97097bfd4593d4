"""The table of `deeprec controls`: means over the seeds with their intervals, paired with the plain setting's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer

from deeprec_env import console
from deeprec_env.analysis.controls import CONTROLS, PLAIN, ControlsRun, Row
from deeprec_env.policies.evaluation.paired import POSITIVE, SHARE, Estimate, mean, ratio
from deeprec_env.provenance import asked
from deeprec_env.simulation.header import SCHEMA_VERSION, versions

FIGURES = ("p95", "p99", "goodput")
"""What is compared with the plain setting's, seed by seed."""

PER_CENT = 100.0


@dataclass(frozen=True)
class Line:
    """A control of a scenario at a load: p95 and p99 of the admitted in targets, shed rate, goodput in capacities.

    Of several admission limits (`limit` in targets) the one of the most goodput, of equals the loosest: chosen from the
    same runs. Where most runs are overloaded there are no figures: they would be those of a length of run. `vs_plain`:
    by figure the paired ratio to the plain setting's, None where either has none.
    """

    scenario: str
    load: float
    control: str
    limit: float | None
    overloaded: str
    p95: Estimate | None
    p99: Estimate | None
    shed_rate: Estimate | None
    goodput: Estimate | None
    vs_plain: dict[str, Estimate | None]

    def to_json(self) -> dict[str, Any]:
        """Plain values; `admit` is the limit in targets."""
        return {
            "scenario": self.scenario,
            "load": self.load,
            "control": self.control,
            "admit": self.limit,
            "overloaded": self.overloaded or None,
            **{name: _json(getattr(self, name)) for name in (*FIGURES, "shed_rate")},
            "vs_plain": {name: found and found.as_ratio() for name, found in self.vs_plain.items()},
        }


@dataclass(frozen=True)
class Summary:
    """A control at a load over all scenarios: geometric mean of their ratios to the plain setting, mean of goodputs.

    The interval takes the scenarios as a sample of all there might be; `counts`: how many have such a figure.
    """

    load: float
    control: str
    ratios: dict[str, Estimate | None]
    goodput: Estimate | None
    least_goodput: float | None
    counts: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "load": self.load,
            "control": self.control,
            "vs_plain": {name: found and found.as_ratio() for name, found in self.ratios.items()},
            "goodput": _json(self.goodput),
            "least_goodput": self.least_goodput,
            "scenarios": self.counts,
        }


def lines(rows: Sequence[Row]) -> list[Line]:
    """A line for each scenario, load and control, in the order of the rows."""
    groups: dict[tuple[str, float, str], dict[float | None, list[Row]]] = {}
    for row in rows:
        groups.setdefault((row.scenario, row.load, row.control), {}).setdefault(row.limit, []).append(row)
    return [
        _line(max(limits.values(), key=_worth), groups[scenario, load, PLAIN][None])
        for (scenario, load, _), limits in groups.items()
    ]


def _worth(runs: Sequence[Row]) -> tuple[bool, float, float]:
    return not _overload(runs), float(np.mean([run.goodput for run in runs])), runs[0].limit or 0.0


def _overload(runs: Sequence[Row]) -> str:
    """Why a cell is overloaded, if most of its runs are.

    Close to a load of 1 the latencies of a run that starts empty may rise all through it by chance; where more work
    comes than can be done they rise in every run.
    """
    found = [run.overloaded for run in runs if run.overloaded]
    return found[0] if 2 * len(found) > len(runs) else ""


def _line(runs: Sequence[Row], plain: Sequence[Row]) -> Line:
    first, overloaded = runs[0], _overload(runs)
    against = None if overloaded or _overload(plain) else plain
    known: dict[str, Estimate | None] = dict.fromkeys((*FIGURES, "shed_rate"))
    if not overloaded:
        for name in known:
            known[name] = _mean([getattr(run, name) for run in runs], name)
    versus: dict[str, Estimate | None] = dict.fromkeys(FIGURES)
    if against is not None:
        for name in FIGURES:
            mine, theirs = ([getattr(run, name) for run in each] for each in (runs, against))
            versus[name] = None if None in mine or None in theirs else ratio(mine, theirs)
    return Line(first.scenario, first.load, first.control, first.limit, overloaded, vs_plain=versus, **known)


def _mean(values: Sequence[float | None], name: str) -> Estimate | None:
    known = [value for value in values if value is not None]
    return mean(known, SHARE if name == "shed_rate" else POSITIVE) if len(known) == len(values) else None


def summaries(found: Sequence[Line]) -> list[Summary]:
    """A summary for each load and control but the plain one."""
    loads, summed = list(dict.fromkeys(line.load for line in found)), []
    for load in loads:
        for control in CONTROLS:
            mine = [line for line in found if (line.load, line.control) == (load, control)]
            ratios = {name: [each.value for line in mine if (each := line.vs_plain[name])] for name in FIGURES}
            goodputs = [line.goodput.value for line in mine if line.goodput]
            if mine:
                summed.append(
                    Summary(
                        load,
                        control,
                        {name: ratio(each, [1.0] * len(each)) if each else None for name, each in ratios.items()},
                        mean(goodputs, POSITIVE) if goodputs else None,
                        min(goodputs, default=None),
                        {name: len(values) for name, values in ratios.items()} | {"stable": len(goodputs)},
                    )
                )
    return summed


def print_lines(run: ControlsRun, found: Sequence[Line]) -> None:
    """A table for each scenario and load, then one for each load over all scenarios."""
    for name, scenario in run.scenarios.items():
        assert scenario.capacity is not None
        capacity = scenario.capacity
        limit = "never" if capacity.threshold is None else str(capacity.threshold)
        for load in run.loads:
            mine = [line for line in found if (line.scenario, line.load) == (name, load)]
            title = (
                f"{name} at {load:g} of capacity ({capacity.qps:.5g} queries/s, batch size {capacity.batch_size}, "
                f"threshold {limit}, target {scenario.sla_ms:g} ms)"
            )
            console.print_table(title, COLUMNS, [_cells(line) for line in mine])
            typer.echo()
    if len(run.scenarios) < 2:
        return
    summed = summaries(found)
    for load in run.loads:
        title = f"{len(run.scenarios)} scenarios at {load:g} of capacity: geometric means of ratios, mean goodput"
        rows = [_summary_cells(each) for each in summed if each.load == load]
        console.print_table(title, SUMMARY_COLUMNS, rows)
        console.print_notes(SUMMARY_NOTES)
        typer.echo()


COLUMNS = (
    "control", "admit", "p95/target", "to plain's", "p99/target", "to plain's", "shed %", "goodput/capacity",
    "to plain's", "overloaded",
)  # fmt: skip
SUMMARY_COLUMNS = ("control", "p95 to plain's", "p99 to plain's", "goodput/capacity", "least", "stable")

SUMMARY_NOTES = {
    "least": "the lowest goodput/capacity of any scenario",
    "stable": "how many scenarios are not overloaded: the goodputs are of these",
}


def _cells(line: Line) -> list[str]:
    return [
        line.control,
        "-" if line.limit is None else f"{line.limit:g}",
        _text(line.p95, ".3f"),
        _versus(line, "p95"),
        _text(line.p99, ".3f"),
        _versus(line, "p99"),
        _text(line.shed_rate, ".2f", PER_CENT),
        _text(line.goodput, ".4f"),
        _versus(line, "goodput"),
        line.overloaded or "-",
    ]


def _summary_cells(each: Summary) -> list[str]:
    return [
        each.control,
        *("-" if each.control == PLAIN else _text(each.ratios[name], ".3f") for name in ("p95", "p99")),
        _text(each.goodput, ".3f"),
        "-" if each.least_goodput is None else f"{each.least_goodput:.3f}",
        str(each.counts["stable"]),
    ]


def _versus(line: Line, name: str) -> str:
    return "-" if line.control == PLAIN else _text(line.vs_plain[name], ".3f")


def _text(found: Estimate | None, form: str, unit: float = 1.0) -> str:
    return "-" if found is None else found.with_interval(form, unit)


def _json(found: Estimate | None) -> dict[str, Any] | None:
    return None if found is None else {"value": found.value, "ci": found.ci and list(found.ci)}


def to_json(run: ControlsRun, found: Sequence[Line], files: dict[str, Path]) -> dict[str, Any]:
    """Lines, what they are of, where the files are, and what was asked."""
    capacities = {
        name: {
            "sla_ms": scenario.sla_ms,
            "capacity_qps": scenario.capacity.qps,
            "batch_size": scenario.capacity.batch_size,
            "threshold": scenario.capacity.threshold,
        }
        for name, scenario in run.scenarios.items()
        if scenario.capacity is not None
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "scenarios": capacities,
        "loads": run.loads,
        "queries": run.queries,
        "seeds": list(run.seeds),
        "cells": [line.to_json() for line in found],
        "summary": [each.to_json() for each in summaries(found)],
        **{name: str(path) for name, path in files.items()},
        **asked(run.question),
        "versions": versions(),
    }
