"""Gains over static from the rows of the paper's table: geometric means over the models, beside the published ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeprec_env import console
from deeprec_env.policies.evaluation.paired import Estimate, ratio
from deeprec_env.policies.paper.gains import BASELINE, METHODS, NODES, PUBLISHED, RULES, TARGETS, Cell, Row
from deeprec_env.provenance import Question, asked
from deeprec_env.simulation.header import SCHEMA_VERSION, versions

FIGURES = {"qps": "QPS", "qps_per_watt": "QPS per watt"}


@dataclass(frozen=True)
class Gain:
    """A method's gain over static in one figure: geometric mean over the models (None where none is left).

    The interval is a 95 % t interval of the logarithms of the models' gains, the models taken as a sample of all there
    might be: it is of how much models differ, next to which the error of a capacity (about 1 %) is small.
    `left_out` names the models where static or a method carries nothing, and which; they are out for all methods.
    """

    figure: str
    node: str
    target: str
    rule: str
    method: str
    estimate: Estimate | None
    models: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def published(self) -> float:
        """What DeepRecSys reports of its scheduler."""
        return PUBLISHED[self.figure, self.node][list(TARGETS).index(self.target)]


def gains(rows: Sequence[Row]) -> list[Gain]:
    """The gains of every figure, node, rule, target and method; static is the one of the CPU's table for both nodes."""
    known = {row.cell: row for row in rows}
    models = list(dict.fromkeys(row.model for row in rows))
    found = []
    for figure in FIGURES:
        for node in NODES:
            for rule in RULES:
                for target in TARGETS:
                    compared = {BASELINE: "cpu"} | dict.fromkeys(METHODS, node)
                    values = {
                        (model, method): known[Cell(model, at, target, rule, method)]
                        for model in models
                        for method, at in compared.items()
                    }
                    nothing = [(model, method) for (model, method), row in values.items() if row.qps == 0.0]
                    out = {model for model, _ in nothing}
                    kept = tuple(model for model in models if model not in out)
                    figures = {
                        method: [float(getattr(values[model, method], figure)) for model in kept] for method in compared
                    }
                    for method in METHODS:
                        estimate = ratio(figures[method], figures[BASELINE]) if kept else None
                        left_out = tuple(f"{model} ({which})" for model, which in nothing)
                        found.append(Gain(figure, node, target, rule, method, estimate, kept, left_out))
    return found


def print_gains(found: Sequence[Gain]) -> None:
    """A table for each figure, node and rule."""
    for figure, name in FIGURES.items():
        for node in NODES:
            for rule in RULES:
                mine = [gain for gain in found if (gain.figure, gain.node, gain.rule) == (figure, node, rule)]
                table = [
                    [target, *(_text(gain.estimate) for gain in mine if gain.target == target), f"{published:.1f}"]
                    for target, published in zip(TARGETS, PUBLISHED[figure, node], strict=True)
                ]
                title = f"{name} over static's, node with {_NODE_NAMES[node]}, {_RULE_NAMES[rule]}"
                console.print_table(title, ("target", *METHODS, "published"), table)
    left_out = dict.fromkeys(
        f"{which}: {gain.node}, {gain.target}, {gain.rule}" for gain in found for which in gain.left_out
    )
    for line in left_out:
        console.print_facts({"left out, no rate meets the target": line})


_NODE_NAMES = {"cpu": "CPU only", "accelerator": "accelerator"}
_RULE_NAMES = {"full": "full rule (p95, p99 and load)", "p95-only": "p95 alone"}


def to_json(rows: Sequence[Row], found: Sequence[Gain], files: dict[str, Path], question: Question) -> dict[str, Any]:
    """Rows and gains, where the files are, and what was asked."""
    return {
        "schema_version": SCHEMA_VERSION,
        "gains": [
            {
                "figure": gain.figure,
                "node": gain.node,
                "rule": gain.rule,
                "target": gain.target,
                "method": gain.method,
                "gain": gain.estimate and gain.estimate.value,
                "ci": gain.estimate and gain.estimate.ci and list(gain.estimate.ci),
                "published": gain.published,
                "models": list(gain.models),
                "left_out": list(gain.left_out),
            }
            for gain in found
        ],
        "rows": [vars(row) for row in rows],
        **{name: str(path) for name, path in files.items()},
        **asked(question),
        "versions": versions(),
    }


def _text(estimate: Estimate | None) -> str:
    return "-" if estimate is None else estimate.with_interval(".2f")
