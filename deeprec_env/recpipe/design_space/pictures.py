"""Pictures of swept pipelines: quality against p95, p95 against the rate at equal quality, quality against capacity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeprec_env.pictures import picture, picture_paths, plain_numbers, target_line
from deeprec_env.recpipe.design_space.cells import Cell
from deeprec_env.recpipe.design_space.pareto import Point, front
from deeprec_env.recpipe.design_space.space import SpaceConfig

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933", "#882255", "#7F7F7F")
"""Told apart by the colour-blind, too (Okabe and Ito)."""

MARKERS = "osD^vPX*<>"
_PANELS = 4
_LINES = 10
_MANY = 2000  # dots that a vector graphic holds as a bitmap
_BEYOND = 8.0  # times the target: p95 beyond it is not drawn but counted


@dataclass(frozen=True)
class Line:
    """Points in their order, drawn joined; `published` ones are hollow and dashed."""

    label: str
    points: Sequence[tuple[float, float]]
    published: bool = False


def draw_lines(axes: Any, lines: Sequence[Line], *, legend: bool = True) -> None:
    """Draw lines, with a legend on the axes; labels that begin alike, up to a comma, share colour and marker."""
    known: dict[str, int] = {}
    for line in lines:
        if not line.points:
            continue
        index = known.setdefault(line.label.partition(",")[0], len(known))
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(
            *zip(*line.points, strict=True),
            color=colour,
            linestyle="--" if line.published else "-",
            linewidth=1.4,
            marker=MARKERS[index % len(MARKERS)],
            markersize=5,
            markerfacecolor="white" if line.published else colour,
            label=line.label,
        )
    axes.grid(alpha=0.3)
    if known and legend:
        axes.legend(fontsize=8)


@dataclass(frozen=True)
class Asked:
    """What a sweep was asked: the space's name, its target, the quality that will do (None: any), and the measure."""

    name: str
    sla_ms: float
    p99_factor: float | None
    floor: float | None
    metric: str
    queries: int

    @classmethod
    def of(cls, name: str, config: SpaceConfig, floor: float | None) -> Asked:
        """Of a space that is called `name`."""
        metric = config.quality.metric if config.quality else ""
        return cls(name, config.sla_ms, config.p99_factor, floor, metric, config.queries)

    @property
    def caption(self) -> str:
        """Below each picture."""
        p99 = "" if self.p99_factor is None else f", p99 within {self.p99_factor * self.sla_ms:g} ms"
        return f"{self.name}: target p95 within {self.sla_ms:g} ms{p99}; {self.queries:,} queries a pipeline and rate"

    @property
    def quality(self) -> str:
        """The measure's title."""
        return self.metric.upper()


def write_pictures(cells: Sequence[Cell], folder: Path, asked: Asked, kinds: Sequence[str] = ("png",)) -> list[Path]:
    """Draw what a sweep found; the paths written. Without qualities there is only the picture over the rate."""
    drawn = {"p95_against_qps": (_over_rate, cells)}
    rated = [cell for cell in cells if cell.quality is not None]
    if rated:
        drawn |= {"quality_against_p95": (_quality, rated), "quality_against_qps": (_capacity, rated)}
    written = []
    for name, (draw, chosen) in drawn.items():
        paths = picture_paths(folder, name, kinds)
        draw(chosen, paths, asked)
        written += paths
    return written


def _quality(cells: Sequence[Cell], paths: Sequence[Path], asked: Asked) -> None:
    """Panels of some rates: all pipelines that keep up, and the front of each number of stages."""
    rates = sorted({cell.qps for cell in cells if cell.load < 1.0})
    chosen = _spread(rates, _PANELS) or [cells[0].qps]
    kinds = sorted({cell.stages for cell in cells})
    with picture(
        paths, columns=len(chosen), width=4.0, height=4.4, caption=asked.caption, sharex=True, sharey=True
    ) as axes:
        for axis, qps in zip(axes[0], chosen, strict=True):
            here = [cell for cell in cells if cell.qps == qps]
            shown = [cell for cell in here if cell.load < 1.0 and cell.p95_ms <= _BEYOND * asked.sla_ms]
            for index, stages in enumerate(kinds):
                of = [cell for cell in shown if cell.stages == stages]
                points = [(cell.p95_ms, cell.quality or 0.0) for cell in of]
                best = [points[at] for at in front([(x, -y) for x, y in points])]
                _draw_front(axis, index, _stages(stages), points, best, len(cells) > _MANY)
            target_line(axis, asked.sla_ms, horizontal=False)
            _floor_line(axis, asked)
            late = sum(cell.load < 1.0 for cell in here) - len(shown)
            lost = len(here) - late - len(shown)
            title = f"{qps:.4g} queries/s: {len(shown)} of {len(here)} pipelines\ncut off: {lost} that can't keep up"
            axis.set_title(title + (f", {late} beyond {_BEYOND:g} x target" if late else ""), fontsize=9)
            axis.set(xscale="log", xlabel="p95 (ms)")
            axis.grid(alpha=0.3)
        plain_numbers(axes[0][0].xaxis)
        axes[0][0].set_ylabel(asked.quality)
        _legend_beside(axes[0][0])


def _over_rate(cells: Sequence[Cell], paths: Sequence[Path], asked: Asked) -> None:
    """The lowest p95 of every mapping at each rate, among the pipelines that are good enough and keep up."""
    enough = [cell for cell in cells if asked.floor is None or (cell.quality or 0.0) >= asked.floor]
    rates = sorted({cell.qps for cell in cells})
    lowest: dict[str, dict[float, float]] = {}
    for cell in enough:
        if cell.load < 1.0:
            of = lowest.setdefault(family(cell), {})
            of[cell.qps] = min(of.get(cell.qps, cell.p95_ms), cell.p95_ms)
    ranked = sorted(lowest, key=lambda name: (-max(lowest[name]), min(lowest[name].values())))[:_LINES]
    lines = [Line(name, sorted(lowest[name].items())) for name in ranked]
    with picture(paths, width=8.6, caption=asked.caption) as axes:
        axis = axes[0][0]
        draw_lines(axis, lines, legend=False)
        ends = [line.points[-1] for line in lines if line.points[-1][0] < rates[-1]]
        if ends:
            marks = {"marker": "x", "s": 70, "color": "black", "linewidths": 1.4, "zorder": 5}
            axis.scatter(*_columns(ends), label="cut off: none keeps up with the next rate", **marks)
        target_line(axis, asked.sla_ms, horizontal=True)
        at_least = "" if asked.floor is None else f" with {asked.quality} of at least {asked.floor:g}"
        few = f" ({len(ranked)} of {len(lowest)} mappings)" if len(lowest) > len(ranked) else ""
        axis.set(xscale="log", xlabel="queries/s", ylabel="p95 (ms)", yscale="log")
        axis.set_title(f"Lowest p95 by mapping{at_least}{few}")
        plain_numbers(axis.yaxis)
        _label_rates(axis, rates)
        _legend_beside(axis)


def _capacity(cells: Sequence[Cell], paths: Sequence[Path], asked: Asked) -> None:
    """For each number of stages the front of quality and the highest rate that meets the target, over all pipelines."""
    highest: dict[tuple[str, ...], Cell] = {}
    for cell in cells:
        if cell.meets and (cell.key not in highest or cell.qps > highest[cell.key].qps):
            highest[cell.key] = cell
    rates = sorted({cell.qps for cell in cells})
    with picture(paths, width=8.0, caption=asked.caption) as axes:
        axis = axes[0][0]
        for index, stages in enumerate(sorted({cell.stages for cell in cells})):
            points = [(cell.qps, cell.quality or 0.0) for cell in highest.values() if cell.stages == stages]
            best = [points[at] for at in front([(-x, -y) for x, y in points])]
            _draw_front(axis, index, f"{_stages(stages)} ({len(points)})", points, best, len(cells) > _MANY)
        axis.grid(alpha=0.3)
        _floor_line(axis, asked)
        if highest and max(cell.qps for cell in highest.values()) == rates[-1]:
            axis.axvline(rates[-1], color="0.6", linewidth=1.0, linestyle="-.", label="cut off: the highest rate swept")
        axis.set(xscale="log", xlabel="highest swept rate that meets the target (queries/s)", ylabel=asked.quality)
        axis.set_title("Quality against the highest rate, and Pareto fronts")
        _label_rates(axis, rates)
        _legend_beside(axis)


def _draw_front(axis: Any, index: int, label: str, points: Sequence[Point], best: Sequence[Point], many: bool) -> None:
    """Dots, and steps between the best of them: between two of these there is nothing better than both."""
    colour = COLOURS[index % len(COLOURS)]
    axis.scatter(*_columns(points), s=9, alpha=0.3, linewidths=0, color=colour, rasterized=many)
    style = {"marker": MARKERS[index % len(MARKERS)], "markersize": 4, "linewidth": 1.4}
    axis.step(*_columns(best), where="post", color=colour, label=label, **style)


def _floor_line(axis: Any, asked: Asked) -> None:
    if asked.floor is not None:
        label = f"floor: {asked.quality} of at least {asked.floor:g}"
        axis.axhline(asked.floor, color="0.3", linestyle=(0, (6, 2)), linewidth=1.0, label=label)


def _legend_beside(axis: Any) -> None:
    handles, labels = axis.get_legend_handles_labels()
    axis.figure.legend(handles, labels, loc="outside right center", fontsize=8, frameon=False)


def _stages(count: int) -> str:
    return f"{count} stage{'s' if count > 1 else ''}"


def _label_rates(axis: Any, rates: Sequence[float]) -> None:
    """Plain numbers on a logarithmic axis of rates, none upon another."""
    apart = (rates[-1] / rates[0]) ** (1 / 12)
    labelled: list[float] = []
    for qps in reversed(rates):
        if not labelled or qps * apart <= labelled[-1]:
            labelled.append(qps)
    axis.set_xticks(rates, [f"{qps:.4g}" if qps in labelled else "" for qps in rates])
    axis.set_xticks([], minor=True)


def family(cell: Cell) -> str:
    """The kinds of a pipeline's devices, stage by stage."""
    return " -> ".join(part.partition("/")[0] for part in cell.mapping.split("|"))


def _spread(values: Sequence[float], count: int) -> list[float]:
    """At most `most` of the values, as evenly spread as can be, both ends among them."""
    if len(values) <= count:
        return list(values)
    return [values[round(index * (len(values) - 1) / (count - 1))] for index in range(count)]


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
