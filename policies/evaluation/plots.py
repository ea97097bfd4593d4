"""Pictures of a comparison on days: p95 over the day, QPS against p95, and the distribution of latencies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deeprec_env.extras import can_plot
from deeprec_env.files import replacing_path
from deeprec_env.policies.evaluation.day_metrics import HOURS, LATENCY_LEVELS
from deeprec_env.policies.evaluation.evaluation import Comparison
from deeprec_env.policies.evaluation.policy_capacity import RateMeter
from deeprec_env.simulation.header import devices

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOADS = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 1.0)
"""Rates of the QPS plot, in the highest capacity of the policies."""


def write_plots(compared: Comparison, folder: Path, *, queries: int) -> list[str]:
    """Write p95_over_the_day.png, qps_against_p95.png and latency_cdf.png; returns their names."""
    if not can_plot():
        return []
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = []
    for name, draw in (
        ("p95_over_the_day.png", _draw_day),
        ("qps_against_p95.png", lambda axes, compared: _draw_rates(axes, compared, queries)),
        ("latency_cdf.png", _draw_cdf),
    ):
        figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
        draw(axes, compared)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        figure.text(0.995, 0.005, _accelerator(compared), ha="right", fontsize=7, color="0.4")
        with replacing_path(folder / name) as temporary:
            figure.savefig(temporary, dpi=120, format="png")
        plt.close(figure)
        names.append(name)
    return names


def _accelerator(compared: Comparison) -> str:
    named = devices(compared.scenario).get("accelerator")
    return f"accelerator: {', '.join(named)}" if named else ""


def _target(axes: Axes, compared: Comparison, *, horizontal: bool) -> None:
    line = axes.axhline if horizontal else axes.axvline
    line(compared.scenario.sla_ms, color="0.3", linestyle="--", linewidth=1, label="target")


def _draw_day(axes: Axes, compared: Comparison) -> None:
    for index, (name, result) in enumerate(compared.policies.items()):
        hourly = np.nanmean([day.hourly_p95_s for day in result.episodes], axis=0) * 1e3
        axes.plot(np.arange(HOURS) + 0.5, hourly, marker="o", markersize=3, label=name, color=f"C{index}")
    _target(axes, compared, horizontal=True)
    axes.set(xlabel="hour of the simulated day", ylabel="p95 latency (ms)", yscale="log", xlim=(0, HOURS))
    axes.set_title(f"p95 of each hour, mean over {len(compared.seeds)} test days")


def _draw_rates(axes: Axes, compared: Comparison, queries: int) -> None:
    capacities = {name: result.capacity_qps for name, result in compared.policies.items()}
    rates = [load * max((qps or 0.0 for qps in capacities.values()), default=0.0) for load in LOADS]
    for index, (name, result) in enumerate(compared.policies.items()):
        if capacities[name]:  # the references have none: they are too slow to be run at many rates
            meter = RateMeter(result.prepared, seed=compared.seeds[0], queries=queries)
            p95_ms = [meter.probe(qps).p95_s * 1e3 for qps in rates]
            axes.plot(rates, p95_ms, marker="o", markersize=3, label=name, color=f"C{index}")
    _target(axes, compared, horizontal=True)
    axes.set(xlabel="stationary Poisson rate (queries/s)", ylabel="p95 latency (ms)", yscale="log")
    axes.set_title("p95 against the rate")


def _draw_cdf(axes: Axes, compared: Comparison) -> None:
    for index, (name, result) in enumerate(compared.policies.items()):
        quantiles_ms = np.mean([day.latency_quantiles_s for day in result.episodes], axis=0) * 1e3
        axes.plot(quantiles_ms, LATENCY_LEVELS, label=name, color=f"C{index}")
    _target(axes, compared, horizontal=False)
    axes.set(xlabel="query latency (ms)", ylabel="share of queries", xscale="log", ylim=(0, 1))
    axes.set_title(f"Latencies of the day, quantiles averaged over {len(compared.seeds)} test days")
