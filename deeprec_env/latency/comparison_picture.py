"""The picture of a comparison: speed-up over batch, a line for each model."""

from __future__ import annotations

from collections.abc import Sequence

from deeprec_env.latency.comparison import Comparison
from deeprec_env.pictures import Paths, picture

_MARKERS = "osD^v<>PX*"


def draw_comparison(paths: Paths, compared: Sequence[Comparison], *, a: str, b: str) -> None:
    """Draw the speed-ups of profile `b` over profile `a` to a PNG, PDF or SVG file, or several.

    A ring marks where a speed-up passes 1.
    """
    with picture(paths, width=8.2, height=4.8, caption="rings: where the speed-up passes 1") as grid:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        axes = grid[0][0]
        axes.axhline(1.0, color="0.4", linewidth=1)
        for position, entry in enumerate(compared):
            batches = [point.batch for point in entry.points]
            marker = _MARKERS[position % len(_MARKERS)]
            line = axes.plot(
                batches, [point.speed_up for point in entry.points], marker=marker, ms=4, label=entry.model
            )[0]
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
        axes.figure.legend(loc="outside right center", fontsize=8, frameon=False)
