"""Pictures of swept pipelines: quality against p95, p95 against the rate at equal quality, quality against capacity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeprec_env.extras import check_installed
from deeprec_env.files import replacing_path
from deeprec_env.recpipe.design_space.cells import Cell
from deeprec_env.recpipe.design_space.pareto import front

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933", "#882255", "#7F7F7F")
"""Told apart by the colour-blind, too (Okabe and Ito)."""

MARKERS = "osD^vPX*<>"
_PANELS = 4
_LINES = 10


@contextmanager
def picture(path: Path, *, columns: int = 1, rows: int = 1, width: float = 6.4, height: float = 4.6) -> Iterator[Any]:
    """Axes to draw on, (rows, columns) of them, written to a PNG file, whole or not at all, when the block ends."""
    check_installed("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    yield figure.subplots(rows, columns, squeeze=False)
    with replacing_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


@dataclass(frozen=True)
class Line:
    """Points in their order, drawn joined; `published` ones are hollow and dashed."""

    label: str
    points: Sequence[tuple[float, float]]
    published: bool = False


def draw_lines(axes: Any, lines: Sequence[Line], *, beside: bool = False) -> None:
    """Draw lines with a legend (`beside` the axes); labels that begin alike, up to a comma, share colour and marker."""
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
    if known:
        place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)} if beside else {}
        axes.legend(fontsize=8, **place)


def write_pictures(
    cells: Sequence[Cell], folder: Path, *, sla_ms: float, floor: float | None, metric: str
) -> list[Path]:
    """Draw what a sweep found; the paths written. Without qualities there is only the picture over the rate."""
    check_installed("matplotlib")
    rated = [cell for cell in cells if cell.quality is not None]
    paths = [_over_rate(cells, folder / "p95_against_qps.png", sla_ms, floor, metric)]
    if rated:
        paths.append(_quality(rated, folder / "quality_against_p95.png", sla_ms, metric))
        paths.append(_capacity(rated, folder / "quality_against_qps.png", sla_ms, metric))
    return paths


def _quality(cells: Sequence[Cell], path: Path, sla_ms: float, metric: str) -> Path:
    """Panels of some rates: all pipelines that keep up, and the front of each number of stages."""
    rates = sorted({cell.qps for cell in cells if cell.load < 1.0})
    chosen = _spread(rates, _PANELS) or [cells[0].qps]
    with picture(path, columns=len(chosen), width=4.3) as axes:
        for axis, qps in zip(axes[0], chosen, strict=True):
            here = [cell for cell in cells if cell.qps == qps and cell.load < 1.0]
            for index, stages in enumerate(sorted({cell.stages for cell in cells})):
                of = [cell for cell in here if cell.stages == stages]
                colour = COLOURS[index % len(COLOURS)]
                label = f"{stages} stage{'s' if stages > 1 else ''} ({len(of)})"
                points = [(cell.p95_ms, -(cell.quality or 0.0)) for cell in of]
                axis.scatter(*_columns([(x, -y) for x, y in points]), s=6, color=colour, alpha=0.25, linewidths=0)
                best = [(points[at][0], -points[at][1]) for at in front(points)]
                axis.step(*_columns(best), where="post", color=colour, linewidth=1.6, label=label)
            axis.axvline(sla_ms, color="0.4", linestyle=":", linewidth=1.2, label=f"target {sla_ms:g} ms")
            axis.set(xscale="log", xlabel="p95 (ms)", title=f"{qps:g} queries/s")
            axis.grid(alpha=0.3, which="both")
            axis.legend(fontsize=7, loc="lower right")
        axes[0][0].set_ylabel(_title(metric))
    return path


def _over_rate(cells: Sequence[Cell], path: Path, sla_ms: float, floor: float | None, metric: str) -> Path:
    """The lowest p95 of every mapping at each rate, among the pipelines that are good enough and keep up."""
    enough = [cell for cell in cells if floor is None or (cell.quality or 0.0) >= floor]
    lowest: dict[str, dict[float, float]] = {}
    for cell in enough:
        if cell.load < 1.0:
            of = lowest.setdefault(family(cell), {})
            of[cell.qps] = min(of.get(cell.qps, cell.p95_ms), cell.p95_ms)
    ranked = sorted(lowest, key=lambda name: (-max(lowest[name]), min(lowest[name].values())))[:_LINES]
    lines = [Line(name, sorted(lowest[name].items())) for name in ranked]
    with picture(path, width=8.6) as axes:
        axis = axes[0][0]
        draw_lines(axis, lines, beside=True)
        axis.axhline(sla_ms, color="0.4", linestyle=":", linewidth=1.2)
        at_least = "" if floor is None else f" with {_title(metric)} of at least {floor:g}"
        axis.set(
            xscale="log", xlabel="queries/s", ylabel="p95 (ms)", yscale="log", title=f"Lowest p95 by mapping{at_least}"
        )
        _label_rates(axis, sorted({cell.qps for cell in cells}))
        text = {"transform": axis.get_yaxis_transform(), "fontsize": 7, "va": "bottom", "ha": "right"}
        axis.text(0.99, sla_ms, f"target {sla_ms:g} ms", **text)
    return path


def _capacity(cells: Sequence[Cell], path: Path, sla_ms: float, metric: str) -> Path:
    """For each number of stages the front of quality and the highest rate that meets the target."""
    highest: dict[tuple[str, ...], Cell] = {}
    for cell in cells:
        if cell.meets and (cell.key not in highest or cell.qps > highest[cell.key].qps):
            highest[cell.key] = cell
    lines = []
    for stages in sorted({cell.stages for cell in cells}):
        points = [(-cell.qps, -(cell.quality or 0.0)) for cell in highest.values() if cell.stages == stages]
        best = [(-points[at][0], -points[at][1]) for at in front(points)]
        lines.append(Line(f"{stages} stage{'s' if stages > 1 else ''}", best))
    with picture(path) as axes:
        axis = axes[0][0]
        draw_lines(axis, lines)
        axis.set(
            xscale="log",
            xlabel=f"highest swept rate with p95 within {sla_ms:g} ms (queries/s)",
            ylabel=_title(metric),
            title="Quality and rate: Pareto fronts",
        )
        _label_rates(axis, sorted({cell.qps for cell in highest.values()}))
    return path


def _label_rates(axis: Any, rates: Sequence[float]) -> None:
    """Plain numbers on a logarithmic axis of rates."""
    chosen = _spread(rates, 8)
    axis.set_xticks(chosen, [f"{qps:.4g}" for qps in chosen])
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


def _title(metric: str) -> str:
    return metric.upper()
