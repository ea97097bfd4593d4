"""The picture of a capacity map: queries a second by batch size and offload threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deeprec_env.pictures import Paths, picture
from deeprec_env.scenario.bounds import Threshold

_MARKS = {"sla": "", "p99": "*", "infeasible": ""}
_POOL = "+"


@dataclass(frozen=True)
class Spot:
    """A setting's capacity in queries a second, its interval (None: unknown), and what limits it."""

    qps: float
    interval: tuple[float, float] | None
    limited_by: str

    def text(self) -> str:
        """For a cell: the capacity with its mark, the interval below."""
        if self.qps == 0.0:
            return "none"
        value = f"{_short(self.qps)}{_MARKS.get(self.limited_by, _POOL)}"
        return value if self.interval is None else f"{value}\n{'-'.join(map(_short, self.interval))}"


def write_heatmap(
    paths: Paths,
    found: Mapping[tuple[int, Threshold], Spot],
    batch_sizes: Sequence[int],
    thresholds: Sequence[Threshold],
    *,
    title: str,
    footnote: str,
) -> None:
    """Draw capacities by (batch size, threshold), with their intervals, to a PNG, PDF or SVG file, or several.

    The best setting is framed, a setting of no capacity is grey; marks say what limits where it is not the percentile.
    """
    qps = np.array([[found[size, limit].qps for limit in thresholds] for size in batch_sizes])
    note = (
        f"red frame: best setting; below each: its 95 % interval; * limited by p99, {_POOL} by a pool's load, "
        f"others by the target\n{footnote}"
    )
    width, height = 2.6 + 0.82 * len(thresholds), 1.9 + 0.42 * len(batch_sizes)
    with picture(paths, width=max(width, 6.4), height=height, caption=note) as grid:
        axes = grid[0][0]
        shown = np.ma.masked_equal(qps, 0.0)
        colours = axes.pcolormesh(shown, cmap="viridis", vmin=0.0, edgecolors="white", linewidth=0.5)
        axes.invert_yaxis()
        axes.set_facecolor("0.85")
        for row, size in enumerate(batch_sizes):
            for column, limit in enumerate(thresholds):
                value = found[size, limit]
                bright = value.qps == 0.0 or value.qps > 0.6 * qps.max()
                place = {"ha": "center", "va": "center", "fontsize": 7, "color": "black" if bright else "white"}
                axes.text(column + 0.5, row + 0.5, value.text(), **place)
        y, x = map(int, np.unravel_index(int(qps.argmax()), qps.shape))
        axes.plot([x, x + 1, x + 1, x, x], [y, y, y + 1, y + 1, y], color="red", linewidth=2, clip_on=False)
        axes.set_xticks(
            np.arange(len(thresholds)) + 0.5, ["never" if limit is None else str(limit) for limit in thresholds]
        )
        axes.set_yticks(np.arange(len(batch_sizes)) + 0.5, [str(size) for size in batch_sizes])
        axes.set(xlabel="offload threshold (items)", ylabel="batch size (items)", title=title)
        axes.figure.colorbar(colours, label="capacity (queries/s)")


def _short(qps: float) -> str:
    return f"{qps / 1e3:.3g}k" if qps >= 1e4 else f"{qps:.4g}"
