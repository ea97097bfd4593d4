"""The picture of the paper's table: gains over static as grouped bars, with the published ones as markers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deeprec_env.pictures import Paths, picture
from deeprec_env.policies.paper.gains import METHODS, NODES, PUBLISHED, RULES, TARGETS
from deeprec_env.policies.paper.table import FIGURES, Gain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TITLES = {"cpu": "CPU only", "accelerator": "with accelerator (estimated)"}
_WIDTH = 0.13
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 20.0)


def write_plot(paths: Paths, found: Sequence[Gain]) -> None:
    """Draw the gains to a PNG, PDF or SVG file, or several: QPS above, QPS per watt below; nodes side by side.

    Bars go from 1, on a logarithmic scale; there is none where no model is left.
    """
    with picture(paths, rows=len(FIGURES), columns=len(NODES), width=5.5, height=3.75, sharex=True) as grid:
        for row, (name, title) in enumerate(FIGURES.items()):
            for column, node in enumerate(NODES):
                axes = grid[row, column]
                _draw(axes, [gain for gain in found if (gain.figure, gain.node) == (name, node)])
                axes.plot(
                    range(len(TARGETS)),
                    PUBLISHED[name, node],
                    "D",
                    color="black",
                    markersize=7,
                    label="published",
                    zorder=4,
                )
                shown = [
                    *PUBLISHED[name, node],
                    *(value for gain in found if (gain.figure, gain.node) == (name, node) and (value := _value(gain))),
                ]
                axes.set_yscale("log")
                axes.set_yticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
                axes.set_yticks([], minor=True)
                axes.set_ylim(0.7 * min(1.0, *shown), 1.4 * max(shown))  # the error bars of few models go beyond
                axes.set_title(f"{title}, {_TITLES[node]}")
                axes.set_ylabel(f"{title} over static's (ratio)")
        for axes in grid[-1]:
            axes.set_xticks(range(len(TARGETS)), [f"{target} ({scale:g}x)" for target, scale in TARGETS.items()])
            axes.set_xlabel("p95 target (medium: the preset's)")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        grid[0, 0].figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
        counts = sorted({len(gain.models) for gain in found})
        counted = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
        grid[0, 0].figure.suptitle(
            f"Gain over static: geometric mean of {counted} models' presets; error bars: 95 % interval over models"
        )


def _draw(axes: Axes, found: Sequence[Gain]) -> None:
    for place, (rule, method) in enumerate((rule, method) for rule in RULES for method in METHODS):
        mine = [gain for gain in found if (gain.rule, gain.method) == (rule, method)]
        centre = [index + (place - 2.5) * _WIDTH for index in range(len(mine))]
        values = [_value(gain) or 1.0 for gain in mine]
        ends = [gain.estimate.ci if gain.estimate and gain.estimate.ci else None for gain in mine]
        errors = [
            [value - end[0] if end else 0.0 for value, end in zip(values, ends, strict=True)],
            [end[1] - value if end else 0.0 for value, end in zip(values, ends, strict=True)],
        ]
        blind = rule != "full"
        axes.bar(
            centre,
            [value - 1.0 for value in values],
            _WIDTH,
            bottom=1.0,
            yerr=errors,
            capsize=2,
            error_kw={"elinewidth": 0.8, "ecolor": "0.3"},
            color=f"C{METHODS.index(method)}",
            alpha=0.45 if blind else 1.0,
            hatch="//" if blind else None,
            edgecolor="white",
            label=f"{method}, {'p95 alone' if blind else 'full rule'}",
        )
    axes.axhline(1.0, color="0.4", linewidth=0.8)
    axes.grid(axis="y", alpha=0.3)


def _value(gain: Gain) -> float | None:
    return gain.estimate.value if gain.estimate else None
