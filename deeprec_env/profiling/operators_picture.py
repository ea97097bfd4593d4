"""The picture of operator shares: a stacked bar for every model and batch."""

from __future__ import annotations

from collections.abc import Sequence

from deeprec_env.pictures import Paths, picture
from deeprec_env.profiling.operators import GROUPS, Share

COLOURS = dict(zip(GROUPS, ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb"), strict=True))
"""Paul Tol's bright scheme, which colour-blind readers can tell apart."""


def draw_shares(paths: Paths, shares: Sequence[Share], *, footnote: str) -> None:
    """Draw the shares to a PNG, PDF or SVG file, or several; bars of 8 % and more are labelled."""
    models = list(dict.fromkeys(share.model for share in shares))
    with picture(paths, width=2.2 + 1.5 * len(models), caption=footnote) as grid:
        axes = grid[0][0]
        ticks: list[float] = []
        labels: list[str] = []
        for place, model in enumerate(models):
            batches = list(dict.fromkeys(share.batch for share in shares if share.model == model))
            width = 0.84 / len(batches)
            for position, batch in enumerate(batches):
                x = place + (position - (len(batches) - 1) / 2) * width
                below = 0.0
                for share in (share for share in shares if (share.model, share.batch) == (model, batch)):
                    percent = 100 * share.share
                    axes.bar(x, percent, 0.92 * width, bottom=below, color=COLOURS[share.operator])
                    if percent >= 8:
                        axes.text(x, below + percent / 2, f"{percent:.0f}", ha="center", va="center", fontsize=7)
                    below += percent
                ticks.append(x)
                labels.append(f"{batch}")
        axes.set_xticks(ticks, labels, fontsize=8)
        for place, model in enumerate(models):
            axes.text(place, 102, model, ha="center", va="bottom", fontsize=9)
        axes.set(
            ylim=(0, 109), yticks=range(0, 101, 20), ylabel="share of self CPU time (%)", xlabel="batch size (items)"
        )
        axes.set_xlim(-0.5, len(models) - 0.5)
        handles = [axes.bar(0, 0, color=COLOURS[group], label=group) for group in GROUPS]
        axes.figure.legend(handles=handles, loc="outside right center", fontsize=8, frameon=False, reverse=True)
