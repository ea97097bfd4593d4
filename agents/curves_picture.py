"""The picture of learning curves."""

from __future__ import annotations

from pathlib import Path

from deeprec_env.agents.curves import CONFIDENCE, RETURN, Curves
from deeprec_env.extras import check_installed
from deeprec_env.files import replacing_path

_DECADES = 100.0
"""Ratio of the highest to the lowest value from which a figure is drawn by its logarithm."""


def draw_curves(path: Path, curves: Curves, *, title: str) -> None:
    """Draw the objective and the return over the timesteps to a PNG file, whole or not at all."""
    check_installed("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in (curves.objective, RETURN) if name in curves.figures]
    figure = Figure(figsize=(5.2 * len(names), 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    alone = "o" if len(curves.timesteps) == 1 else ""
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for seed, values in zip(curves.seeds, curves.figures[name], strict=True):
            label = "one seed each" if seed == curves.seeds[0] else None
            axes.plot(curves.timesteps, values, color="0.7", linewidth=0.8, marker=alone, label=label)
        band = curves.iqm[name]
        axes.plot(curves.timesteps, band.value, color="C0", marker=".", label="interquartile mean")
        if band.low is not None and band.high is not None:
            label = f"{100 * CONFIDENCE:g} % bootstrap interval"
            axes.fill_between(curves.timesteps, band.low, band.high, color="C0", alpha=0.25, linewidth=0, label=label)
        drawn = curves.figures[name]
        if drawn.min() > 0.0 and drawn.max() > _DECADES * drawn.min():
            axes.set_yscale("log")
        axes.set(xlabel="timesteps of training", ylabel=name)
        axes.set_title(f"{name}: {'higher' if name == RETURN else 'lower'} is better", fontsize=10)
        axes.grid(alpha=0.3)
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=11)
    with replacing_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
