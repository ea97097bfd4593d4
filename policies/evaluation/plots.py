"""Pictures of a comparison on days: p95 over the day, QPS against p95, and the distribution of latencies.

Bands and error bars are intervals of 95 %: over the days; of a rate, over the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deeprec_env.extras import can_plot
from deeprec_env.pictures import picture, picture_paths, plain_numbers, target_line
from deeprec_env.policies.evaluation.day_metrics import HOURS, LATENCY_LEVELS
from deeprec_env.policies.evaluation.evaluation import Comparison
from deeprec_env.policies.evaluation.paired import POSITIVE, Estimate, mean
from deeprec_env.policies.evaluation.policy_capacity import RateMeter
from deeprec_env.scenario.parts import Floats
from deeprec_env.simulation.header import devices

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOADS = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 1.0)
"""Rates of the QPS plot, in the highest capacity of the policies."""


def write_plots(
    compared: Comparison, folder: Path, *, queries: int, name: str = "", kinds: Sequence[str] = ("png",)
) -> list[str]:
    """Write p95_over_the_day, qps_against_p95 and latency_cdf, each as the kinds of files named; returns their names.

    `name` is what the scenario is called.
    """
    if not can_plot():
        return []
    drawn: dict[str, Callable[[Axes, Comparison], None]] = {
        "p95_over_the_day": _draw_day,
        "qps_against_p95": lambda axes, compared: _draw_rates(axes, compared, queries),
        "latency_cdf": _draw_cdf,
    }
    names = []
    for plot, draw in drawn.items():
        paths = picture_paths(folder, plot, kinds)
        with picture(paths, width=8.5, height=4.7, caption=_caption(compared, name)) as grid:
            axes = grid[0][0]
            draw(axes, compared)
            axes.grid(alpha=0.3)
            axes.figure.legend(loc="outside right center", fontsize=8, frameon=False)
        names += [path.name for path in paths]
    return names


def _caption(compared: Comparison, name: str) -> str:
    of = [f"{kind}: {', '.join(labels)}" for kind, labels in devices(compared.scenario).items()]
    return "; ".join(filter(None, (name, *of, "bands and bars: 95 % intervals")))


def _over_days(days: Sequence[Sequence[float]]) -> tuple[Floats, Floats, Floats]:
    """Mean and ends of its interval, point by point, of positive figures of some days."""
    found = []
    for values in np.asarray(days).T:
        known = values[~np.isnan(values)]
        estimate = mean(known.tolist(), POSITIVE) if known.size else Estimate(np.nan, None)
        found.append((estimate.value, *(estimate.ci or (estimate.value, estimate.value))))
    means, lows, highs = np.array(found).T
    return means, lows, highs


def _draw_day(axes: Axes, compared: Comparison) -> None:
    hours = np.arange(HOURS) + 0.5
    for index, (name, result) in enumerate(compared.policies.items()):
        hourly, low, high = (1e3 * part for part in _over_days([day.hourly_p95_s for day in result.episodes]))
        axes.plot(hours, hourly, marker="o", markersize=3, label=name, color=f"C{index}")
        axes.fill_between(hours, low, high, color=f"C{index}", alpha=0.15, linewidth=0)
    target_line(axes, compared.scenario.sla_ms, horizontal=True)
    axes.set(xlabel="hour of the simulated day", ylabel="p95 latency (ms)", yscale="log", xlim=(0, HOURS))
    plain_numbers(axes.yaxis)
    axes.set_title(f"p95 of each hour, mean over {_days(compared)}")


def _draw_rates(axes: Axes, compared: Comparison, queries: int) -> None:
    capacities = {name: result.capacity_qps for name, result in compared.policies.items()}
    rates = [load * max((qps or 0.0 for qps in capacities.values()), default=0.0) for load in LOADS]
    for index, (name, result) in enumerate(compared.policies.items()):
        if capacities[name]:  # the references have none: they are too slow to be run at many rates
            meter = RateMeter(result.prepared, seed=compared.seeds[0], queries=queries)
            found = [meter.p95_s(qps) for qps in rates]
            p95_ms = [1e3 * p95_s for p95_s, _ in found]
            ends = [(1e3 * (p95_s - low), 1e3 * (high - p95_s)) for p95_s, (low, high) in found]
            ends = [(below, above if math.isfinite(above) else 0.0) for below, above in ends]  # what the run can't tell
            style: dict[str, Any] = {"marker": "o", "markersize": 3, "capsize": 2, "elinewidth": 0.8}
            axes.errorbar(rates, p95_ms, np.array(ends).T, label=name, color=f"C{index}", **style)
    target_line(axes, compared.scenario.sla_ms, horizontal=True)
    axes.set(xlabel="stationary Poisson rate (queries/s)", ylabel="p95 latency (ms)", yscale="log")
    plain_numbers(axes.yaxis)
    axes.set_title("p95 against the rate")


def _draw_cdf(axes: Axes, compared: Comparison) -> None:
    for index, (name, result) in enumerate(compared.policies.items()):
        middle, low, high = (1e3 * part for part in _over_days([day.latency_quantiles_s for day in result.episodes]))
        axes.plot(middle, LATENCY_LEVELS, label=name, color=f"C{index}")
        axes.fill_betweenx(LATENCY_LEVELS, low, high, color=f"C{index}", alpha=0.15, linewidth=0)
    target_line(axes, compared.scenario.sla_ms, horizontal=False)
    axes.axhline(0.95, color="0.6", linewidth=0.8)
    axes.set(xlabel="query latency (ms)", ylabel="share of queries", xscale="log", ylim=(0, 1))
    plain_numbers(axes.xaxis)
    axes.set_title(f"Latencies of the day, quantiles averaged over {_days(compared)}")


def _days(compared: Comparison) -> str:
    count = len(compared.seeds)
    return f"{count} test day{'s' if count > 1 else ''}"
