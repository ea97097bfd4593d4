"""The picture of a comparison: speed-up over batch, a line for each model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deeprec_env.files import replacing_path
from deeprec_env.latency.comparison import Comparison

_MARKERS = "osD^v<>PX*"


def draw_comparison(path: Path, compared: Sequence[Comparison], *, a: str, b: str) -> None:
    """Draw the speed-ups of profile `b` over profile `a` to a PNG file, whole or not at all; needs matplotlib.

    A ring marks where a speed-up passes 1.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(8.2, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.axhline(1.0, color="0.4", linewidth=1)
    for position, entry in enumerate(compared):
        batches = [point.batch for point in entry.points]
        marker = _MARKERS[position % len(_MARKERS)]
        line = axes.plot(batches, [point.speed_up for point in entry.points], marker=marker, ms=4, label=entry.model)[0]
        crossings = entry.crossovers()
        axes.plot(crossings, [1.0] * len(crossings), "o", ms=11, mfc="none", color=line.get_color())
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    speed_ups = [point.speed_up for entry in compared for point in entry.points]
    few = max(speed_ups) < 4.0 * min(speed_ups)  # less than two octaves: ticks between them
    axes.yaxis.set_major_locator(LogLocator(base=2, subs=(1.0, 1.25, 1.5, 1.75) if few else (1.0,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    axes.set(xlabel="batch size (items)", ylabel="speed-up of B over A (times, median latency)")
    axes.set_title(f"A: {a}\nB: {b}", fontsize=10, loc="left")
    figure.legend(loc="outside right center", fontsize=8, frameon=False)
    figure.supxlabel("rings: where the speed-up passes 1", fontsize=7, color="0.35")
    with replacing_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
