"""Figures 7 and 8: stages on CPU cores and a GPU; quality, tail latency and throughput."""

from __future__ import annotations

from deeprec_env.pictures import picture
from deeprec_env.recpipe.design_space.pictures import draw_lines
from deeprec_env.recpipe.figures.experiment import experiment, fronts, lowest
from deeprec_env.recpipe.figures.lines import (
    MODELS,
    FigureFiles,
    Row,
    beside,
    caption,
    cpu_gpu_grids,
    rows_of,
    write_rows,
)
from deeprec_env.recpipe.figures.published import ENOUGH, P95_MS, QUALITY, QUALITY_AT_REST

BUSY_GAP_MS, IDLE_GAP_MS = 1.5, 15.0
"""Mean gaps at which quality is shown. The paper's figure 7 takes 1 ms, where the larger pipelines are overloaded."""


def figure_7(files: FigureFiles, seed: int) -> list[Row]:
    """CPU cores: quality against p95 of single models and of one to three stages; p95 against rate at equal quality."""
    trials = {stages: experiment(cpu_gpu_grids(stages, gpu=False), seed=seed) for stages in (1, 2, 3)}
    alone = {
        model: sorted(
            (trial.p95_ms, trial.quality)
            for trial in trials[1]
            if trial.gap_ms == BUSY_GAP_MS and trial.candidate.key[0] == model
        )
        for model in MODELS
    }
    quality = {name("CPU", stages): fronts(of, BUSY_GAP_MS) for stages, of in trials.items()}
    tails = {name("CPU", stages): lowest(of) for stages, of in trials.items()}
    panels = [
        ("a", beside(alone, {}), "p95 (ms)", "NDCG@64", f"Figure 7a: single models, a query every {BUSY_GAP_MS} ms"),
        ("b", beside(quality, QUALITY), "p95 (ms)", "NDCG@64", f"7b: stages on CPU cores, every {BUSY_GAP_MS} ms"),
        ("c", beside(tails, P95_MS), "queries/s", "p95 (ms)", f"7c: NDCG@64 above {ENOUGH}"),
    ]
    rows: list[Row] = []
    with picture(files.pictures, columns=3, width=5.4, caption=caption(seed)) as axes:
        for axis, (panel, lines, x, y, title) in zip(axes[0], panels, strict=True):
            draw_lines(axis, lines)
            axis.set(xlabel=x, ylabel=y, title=title)
            rows += rows_of(lines, "x", "y", panel)
        axes[0][1].set_xlim(0, 125)
        axes[0][2].set(ylim=(0, 150), xlim=(40, 500))
    write_rows(files.csv, rows)
    return rows


def figure_8(files: FigureFiles, seed: int) -> list[Row]:
    """CPU cores and a GPU: p95 against rate at equal quality; quality against p95 at a low rate."""
    pipelines = {("CPU", 2): False, ("GPU", 1): True, ("GPU", 2): True}
    trials = {name(*kind): experiment(cpu_gpu_grids(kind[1], gpu), seed=seed) for kind, gpu in pipelines.items()}
    top = beside({kind: lowest(of) for kind, of in trials.items()}, P95_MS)
    bottom = beside({kind: fronts(of, IDLE_GAP_MS) for kind, of in trials.items()}, QUALITY_AT_REST)
    with picture(files.pictures, columns=2, width=5.8, caption=caption(seed)) as axes:
        left, right = axes[0]
        draw_lines(left, top)
        left.set(xlabel="queries/s", ylabel="p95 (ms)", ylim=(0, 150), xlim=(40, 500))
        left.set_title(f"Figure 8, top: NDCG@64 above {ENOUGH}")
        draw_lines(right, bottom)
        right.set(xlabel="p95 (ms)", ylabel="NDCG@64", title=f"bottom: a query every {IDLE_GAP_MS:g} ms")
    rows = rows_of(top, "x", "y", "top") + rows_of(bottom, "x", "y", "bottom")
    write_rows(files.csv, rows)
    return rows


def name(device: str, stages: int) -> str:
    """What a line of n stages on a device is called."""
    return f"{device}, {stages} stage{'s' if stages > 1 else ''}"
