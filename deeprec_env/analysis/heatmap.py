"""The picture of a capacity map: queries a second by batch size and offload threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from deeprec_env.extras import check_installed
from deeprec_env.files import replacing_path
from deeprec_env.scenario.bounds import Threshold

_MARKS = {"sla": "", "p99": "*", "infeasible": "", "unstable": "~"}
_POOL = "+"


def write_heatmap(
    path: Path,
    found: Mapping[tuple[int, Threshold], tuple[float, str]],
    batch_sizes: Sequence[int],
    thresholds: Sequence[Threshold],
    *,
    predicted: bool = False,
    title: str,
    footnote: str,
) -> None:
    """Draw capacities, (qps, limited_by) by (batch size, threshold), to a PNG file, whole or not at all.

    `predicted`: offloading is, whatever the threshold. The best setting is framed, a setting of no capacity is grey;
    marks say what limits where it is not the percentile.
    """
    check_installed("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    qps = np.array([[found[size, limit][0] for limit in thresholds] for size in batch_sizes])
    figure = Figure(figsize=(2.6 + 0.66 * len(thresholds), 1.9 + 0.42 * len(batch_sizes)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    colours = axes.imshow(np.ma.masked_equal(qps, 0.0), cmap="viridis", vmin=0.0, aspect="auto")
    axes.set_facecolor("0.85")
    for row, size in enumerate(batch_sizes):
        for column, limit in enumerate(thresholds):
            value, limited_by = found[size, limit]
            text = f"{_short(value)}{_MARKS.get(limited_by, _POOL)}" if value else "none"
            bright = value == 0.0 or value > 0.6 * qps.max()
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color="black" if bright else "white")
    best = np.unravel_index(int(qps.argmax()), qps.shape)
    axes.add_patch(Rectangle((best[1] - 0.5, best[0] - 0.5), 1, 1, fill=False, edgecolor="red", linewidth=2))
    never = "predicted" if predicted else "never"
    axes.set_xticks(range(len(thresholds)), [never if limit is None else str(limit) for limit in thresholds])
    axes.set_yticks(range(len(batch_sizes)), [str(size) for size in batch_sizes])
    axes.set(xlabel="offload threshold (items)", ylabel="batch size (items)", title=title)
    figure.colorbar(colours, label="capacity (queries/s)")
    grows = ", ~ by a backlog that grows" if "unstable" in {limited_by for _, limited_by in found.values()} else ""
    note = (
        f"red frame: best setting; * limited by p99, {_POOL} by a pool's load{grows}, others by the target\n{footnote}"
    )
    figure.supxlabel(note, fontsize=7, color="0.35")
    with replacing_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def _short(qps: float) -> str:
    return f"{qps / 1e3:.3g}k" if qps >= 1e4 else f"{qps:.4g}"
