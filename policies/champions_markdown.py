"""The champions' cells in Markdown: a table for each scenario, with intervals, and one over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deeprec_env.policies.evaluation.paired import Estimate, mean, ratio

Cell = Mapping[str, Any]
"""A scenario under one traffic: the JSON of `deeprec evaluate`."""

BESIDE = "load-table"
"""Whom the table over all scenarios compares with."""

_COLUMNS = "| traffic | policy | hourly p95 ms | day p99 ms | violations % | shed % | goodput qps | capacity qps |"
_OVER_ALL = "| traffic | policy | hourly p95 | violations % | shed % | goodput | capacity |"


def scenario_table(name: str, cells: Mapping[str, Cell]) -> list[str]:
    """One scenario's lines: every policy under each traffic, 95 % intervals over the test days beside the means."""
    lines = [f"### {name}", "", _COLUMNS, _rule(_COLUMNS, text=2)]
    for traffic, cell in cells.items():
        for policy, entry in cell["policies"].items():
            columns = (
                traffic,
                policy,
                _of(entry, "p95_hourly_ms", "p95_hourly_ci_ms").with_interval(".2f"),
                f"{entry['p99_day_ms']:.1f}",
                _of(entry, "violation_rate", "violation_rate_ci").with_interval(".2f", 100),
                _of(entry, "shed_rate", "shed_rate_ci").with_interval(".2f", 100),
                f"{entry['goodput_qps']:.0f}",
                "" if entry["capacity_qps"] is None else f"{entry['capacity_qps']:.0f}",
            )
            lines.append(f"| {' | '.join(columns)} |")
    return [*lines, ""]


def table_over_all(cells: Mapping[str, Sequence[Cell]]) -> list[str]:
    """Means over scenarios, for each traffic: geometric ones of the ratios to the load table, 95 % intervals."""
    lines = [_OVER_ALL, _rule(_OVER_ALL, text=2)]
    for traffic, of_traffic in cells.items():
        for policy in of_traffic[0]["policies"] if of_traffic else ():
            entries = [cell["policies"][policy] for cell in of_traffic]
            beside = [cell["policies"][BESIDE] for cell in of_traffic]
            columns = (
                traffic,
                policy,
                _ratio(entries, beside, "p95_hourly_ms"),
                mean([100 * (entry["violation_rate"] or 0.0) for entry in entries]).in_words(".2f"),
                mean([100 * (entry["shed_rate"] or 0.0) for entry in entries]).in_words(".2f"),
                _ratio(entries, beside, "goodput_qps"),
                _ratio(entries, beside, "capacity_qps"),
            )
            lines.append(f"| {' | '.join(columns)} |")
    return [*lines, ""]


def _rule(columns: str, text: int) -> str:
    """The line under the names: `text` columns of words, the others of numbers."""
    return "|" + "---|" * text + "---:|" * (columns.count("|") - 1 - text)


def _of(entry: Mapping[str, Any], key: str, interval: str) -> Estimate:
    ci = entry[interval]
    return Estimate(entry[key] or 0.0, None if ci is None else (ci[0], ci[1]))


def _ratio(mine: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]], key: str) -> str:
    """The geometric mean of the ratios; empty where a figure is not there (the capacity of who sees ahead)."""
    if any(entry[key] is None for entry in (*mine, *theirs)):
        return ""
    found = ratio([entry[key] for entry in mine], [entry[key] for entry in theirs])
    return "-" if found is None else found.with_interval(".3f")
