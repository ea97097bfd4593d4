"""The plots of a report as one picture: PNG, PDF or SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.extras import check_installed
from deeprec_env.files import check_writable
from deeprec_env.pictures import KINDS, picture, plain_numbers
from deeprec_env.provenance import KEY
from deeprec_env.report.page import Line, Plot
from deeprec_env.report.report import page_of
from deeprec_env.report.sources import Source
from deeprec_env.report.svg import COLOURS
from deeprec_env.simulation.records import Records

_MARKS = "osD^"
_COLUMNS = 2


def check_plot(path: Path | None) -> None:
    """Raise `InputError` if no picture can be written there; called before long work starts."""
    if path is None:
        return
    if path.suffix[1:].lower() not in KINDS:
        raise InputError("plot", str(path), f"must be a file named *.{', *.'.join(KINDS)}")
    check_installed("matplotlib")
    check_writable("plot", path)


def plot_result(path: Path, payload: Mapping[str, Any], name: str, records: Records | None = None) -> None:
    """Draw what the report of a result would; `records` are those of a run."""
    command = str(payload[KEY]["command"])
    page = page_of([Source(name, command, payload, None if records is None else _counted(records, payload))])
    plots = [block for section in page.sections for block in section.blocks if isinstance(block, Plot)]
    columns = min(_COLUMNS, len(plots))
    with picture(path, columns=columns, rows=-(-len(plots) // columns), caption=page.title) as axes:
        for place, each in enumerate(axes.ravel()):
            if place < len(plots):
                _draw(each, plots[place])
            else:
                each.set_axis_off()


def _counted(records: Records, payload: Mapping[str, Any]) -> dict[str, Any]:
    counted = (np.arange(len(records)) >= payload["warmup"]) & ~records.shed
    return {"arrival_s": records.arrival_s[counted], "latency_s": records.latency_s[counted]}


def _draw(axes: Any, plot: Plot) -> None:
    for number, line in enumerate(plot.lines):
        style = {"color": COLOURS[number % len(COLOURS)], "label": line.name}
        many = len(line.x) > 30
        mark = "" if many and plot.joined else _MARKS[number % len(_MARKS)]
        axes.errorbar(
            line.x, line.y, _errors(line), fmt=("-" if plot.joined else "") + mark, markersize=4, capsize=2, **style
        )
    if plot.target is not None:
        axes.axhline(plot.target[0], color="0.3", linestyle=":", label=plot.target[1])
    if plot.places:
        axes.set_xticks(range(len(plot.places)), plot.places)
        axes.set_xlim(-0.5, len(plot.places) - 0.5)
    if plot.log_x:
        axes.set_xscale("log")
        plain_numbers(axes.xaxis)
    if plot.log_y:
        axes.set_yscale("log")
    axes.set(title=plot.title, xlabel=plot.x_label, ylabel=plot.y_label)
    axes.title.set_fontsize(10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _errors(line: Line) -> Any:
    """Lengths of the intervals below and above the points; none where an end is unknown."""
    if not line.low:
        return None
    pairs = zip(line.y, line.low, line.high, strict=True)
    lengths = [(0.0 if low is None else y - low, 0.0 if high is None else high - y) for y, low, high in pairs]
    return np.array([[max(0.0, each) if math.isfinite(each) else 0.0 for each in pair] for pair in lengths]).T
