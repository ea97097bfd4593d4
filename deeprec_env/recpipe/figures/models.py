"""Figures 2 and 3: the models, their work, and the quality that they and the items they rank give."""

from __future__ import annotations

from deeprec_env.latency.rpaccel import NETWORKS
from deeprec_env.pictures import picture
from deeprec_env.recpipe.design_space.config import QUALITY
from deeprec_env.recpipe.design_space.pictures import COLOURS, Line, draw_lines
from deeprec_env.recpipe.figures.lines import ITEMS, FigureFiles, Row, write_rows
from deeprec_env.recpipe.figures.published import TEST_ERROR
from deeprec_env.scenario.quality import METRIC, read_quality


def figure_2(files: FigureFiles, seed: int) -> list[Row]:
    """Multiplications of the three models an item, against their error.

    The paper's figure shows hundreds of trained networks, from a search that is not repeated here; these three are
    the ones it settled on.
    """
    rows = [
        {
            "model": name,
            "multiplications": sum(inputs * outputs for inputs, outputs in network.layers),
            "embedding": network.dim,
            "error_percent": 100 * TEST_ERROR[name],
        }
        for name, network in NETWORKS.items()
    ]
    with picture(files.pictures) as axes:
        axis = axes[0][0]
        axis.plot(
            [row["multiplications"] for row in rows],
            [row["error_percent"] for row in rows],
            "--",
            color="0.6",
            zorder=0,
        )
        for row, colour in zip(rows, COLOURS, strict=False):
            label = f"{row['model']} (embedding {row['embedding']})"
            axis.scatter(row["multiplications"], row["error_percent"], color=colour, s=50, label=label)
        axis.set(
            xscale="log",
            xlabel="multiplications of the MLPs, an item",
            ylabel="logged test error (%)",
            title="Figure 2: larger models err less",
        )
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    write_rows(files.csv, rows)
    return rows


def figure_3(files: FigureFiles, seed: int) -> list[Row]:
    """NDCG@64 of single models by the items that they rank, from the quality table; the error of each beside it."""
    table = read_quality(QUALITY)
    rows: list[Row] = [
        {
            "model": model,
            "items": items,
            METRIC: table[f"{model}@{items}"].metrics[METRIC],
            "error_percent": 100 * TEST_ERROR[model],
        }
        for model in NETWORKS
        for items in ITEMS
    ]
    with picture(files.pictures, columns=2, width=5.2) as axes:
        left, right = axes[0]
        lines = [
            Line(model, [(row["items"], row[METRIC]) for row in rows if row["model"] == model]) for model in NETWORKS
        ]
        draw_lines(left, lines)
        left.set(xlabel="items ranked", ylabel="NDCG@64", title="Figure 3: items matter most,")
        for index, model in enumerate(NETWORKS):
            last = next(row for row in rows if row["model"] == model and row["items"] == ITEMS[-1])
            right.bar(index, last["error_percent"], color=COLOURS[index], width=0.6)
            text = f"NDCG@64\n{last[METRIC]:.4f}"
            right.text(index, last["error_percent"], text, ha="center", va="bottom", fontsize=8)
        right.set_xticks(range(len(NETWORKS)), list(NETWORKS))
        right.set(ylim=(18.0, 18.8), ylabel="logged test error (%)", title="then the model (4096 items)")
    write_rows(files.csv, rows)
    return rows
