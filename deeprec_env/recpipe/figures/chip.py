"""Figures 10a, 10c and 11: the systolic array, the split embedding cache, and area and power of the chip."""

from __future__ import annotations

import numpy as np

from deeprec_env.latency.rpaccel import NETWORKS
from deeprec_env.pictures import picture
from deeprec_env.recpipe.chip.cache_sweep import COPIES, EXPONENT, ROWS, SHARES, SHIFT, TABLES
from deeprec_env.recpipe.chip.embedding_cache import combine, filtered, hit_rate, split_entries, zipf_trace
from deeprec_env.recpipe.chip.energy import DESIGNS, chip, components
from deeprec_env.recpipe.chip.systolic import model_use
from deeprec_env.recpipe.design_space.pictures import COLOURS, Line, draw_lines
from deeprec_env.recpipe.figures.lines import FigureFiles, Row, write_rows
from deeprec_env.recpipe.figures.published import ARRAY_USE, BEST_SHARE, CHIP

SIDES = (16, 32, 64, 128)
_SAMPLES = 400_000


def figure_10a(files: FigureFiles, seed: int) -> list[Row]:
    """Utilisation and cycles of a weight-stationary array by its side, for each model and 4096 items."""
    rows: list[Row] = []
    for model in NETWORKS:
        for side in SIDES:
            use = model_use(model, side)
            figures = {"cycles": use.cycles, "utilisation": use.utilisation, "published": ARRAY_USE[model][side]}
            rows.append({"model": model, "side": side, **figures})
    with picture(files.pictures, columns=2, width=5.4) as axes:
        left, right = axes[0]
        lines = []
        for model in NETWORKS:
            of = [row for row in rows if row["model"] == model]
            lines.append(Line(model, [(row["side"], 100 * row["utilisation"]) for row in of]))
            logged = [(row["side"], 100 * row["published"]) for row in of]
            lines.append(Line(f"{model}, SCALE-Sim as logged", logged, published=True))
        draw_lines(left, lines)
        left.set(ylabel="utilisation (%)", title="Figure 10a: small models leave large arrays idle")
        draw_lines(
            right,
            [
                Line(model, [(row["side"], row["cycles"]) for row in rows if row["model"] == model])
                for model in NETWORKS
            ],
        )
        right.set(ylabel="cycles", yscale="log", title="cycles for 4096 items")
        for axis in axes[0]:
            axis.set_xscale("log", base=2)
            axis.set_xticks(SIDES, [str(side) for side in SIDES])
            axis.set_xlabel("side of the array")
    write_rows(files.csv, rows)
    return rows


def figure_10c(files: FigureFiles, seed: int) -> list[Row]:
    """Mean cycles of an embedding access by the first stage's share of the cache, on the synthetic trace."""
    trace = zipf_trace(_SAMPLES, TABLES, ROWS, EXPONENT, SHIFT, np.random.default_rng(seed))
    rows: list[Row] = []
    lines = []
    for ratio, mib in BEST_SHARE:
        second = filtered(trace, ratio)
        points = []
        for share in SHARES:
            entries = split_entries(mib * 2**20, share)
            rates = hit_rate(trace, entries[0] // COPIES), hit_rate(second, entries[1] // COPIES)
            points.append((share, combine(entries, rates, (len(trace), len(second))).cycles))
            rows.append({"filter": ratio, "mib": mib, "share": share, "cycles": points[-1][1]})
        best = min(points, key=lambda point: point[1])[0]
        lines.append(Line(f"{mib} MiB and a filter of 1/{1 / ratio:g} (best {best:g})", points))
    with picture(files.pictures, width=6.8) as axes:
        axis = axes[0][0]
        draw_lines(axis, lines)
        for index, share in enumerate(BEST_SHARE.values()):
            axis.axvline(share + 0.004 * index, color=COLOURS[index], linestyle=":", linewidth=1.2)
        axis.set(
            xlabel="share of the cache for the first stage (dotted: best in the logs)",
            ylabel="mean cycles of an access, by bytes",
            title="Figure 10c: splitting the embedding cache",
        )
    write_rows(files.csv, rows)
    return rows


def figure_11(files: FigureFiles, seed: int) -> list[Row]:
    """Area and power of the monolithic and the reconfigurable chip, component by component."""
    rows: list[Row] = []
    for design in DESIGNS:
        for name, cost in components(design).items():
            rows.append({"design": design, "component": name, "area_mm2": cost.area_mm2, "power_w": cost.busy_w})
        whole = chip(design)
        figures = {"published_mm2": CHIP[design][0], "published_w": CHIP[design][1]}
        rows.append(
            {"design": design, "component": "total", "area_mm2": whole.area_mm2, "power_w": whole.busy_w} | figures
        )
    with picture(files.pictures, columns=2, width=4.6) as axes:
        for axis, column, label, published in (
            (axes[0][0], "area_mm2", "area (mm2)", 0),
            (axes[0][1], "power_w", "power (W)", 1),
        ):
            for index, design in enumerate(DESIGNS):
                bottom = 0.0
                for colour, row in zip(COLOURS, (each for each in rows if each["design"] == design), strict=False):
                    if row["component"] != "total":
                        named = {"label": row["component"]} if index == published == 0 else {}
                        axis.bar(index, row[column], bottom=bottom, color=colour, width=0.55, **named)
                        bottom += row[column]
                axis.annotate(
                    f"{bottom:.2f}", (index, bottom), (0, 4), textcoords="offset points", ha="center", fontsize=8
                )
                axis.plot([index - 0.35, index + 0.35], [CHIP[design][published]] * 2, "k--", linewidth=1.2)
            axis.set_xticks(range(len(DESIGNS)), list(DESIGNS))
            axis.set(ylabel=label)
            axis.margins(y=0.1)
        axes[0][0].set_title("Figure 11 (dashed: published)")
        axes[0][0].figure.legend(loc="outside right center", fontsize=8, frameon=False)
    write_rows(files.csv, rows)
    return rows
