"""The picture of a fidelity matrix: predicted p95 over measured, one panel a predictor."""

from __future__ import annotations

from collections.abc import Sequence

from deeprec_env.live.fidelity import Row
from deeprec_env.pictures import Paths, picture

_MARKERS = "osD^vP*X"


def draw_fidelity(paths: Paths, rows: Sequence[Row], *, footnote: str) -> None:
    """Draw each cell's prediction with the range of its repeats as a horizontal bar; on the line they agree."""
    names = list(rows[0].predicted)
    models = list(dict.fromkeys(row.cell.model for row in rows))
    with picture(paths, columns=1 + len(names), width=3.6, height=3.6, caption=footnote) as grid:
        for axes, name in zip(grid[0], ("replay", *names), strict=True):
            for row in rows:
                runs_ms = [replay.measured_s["p95"] * 1e3 for replay in row.replays]
                predictions = row.replays if name == "replay" else (row.predicted[name],)
                place = models.index(row.cell.model)
                style = {"color": f"C{place}", "marker": _MARKERS[place % len(_MARKERS)], "markersize": 4}
                for prediction in predictions:
                    measured_ms = (
                        prediction.measured_s["p95"] * 1e3 if name == "replay" else row.measured_s["p95"] * 1e3
                    )
                    axes.plot([measured_ms], [prediction.predicted_s["p95"] * 1e3], linestyle="none", **style)
                if name != "replay":
                    height_ms = row.predicted[name].predicted_s["p95"] * 1e3
                    axes.hlines(height_ms, min(runs_ms), max(runs_ms), color=f"C{place}", linewidth=1, alpha=0.6)
            ends = [*axes.get_xlim(), *axes.get_ylim()]
            axes.axline((1.0, 1.0), slope=1, color="0.6", linewidth=0.8)
            axes.set(xscale="log", yscale="log", xlabel="measured p95 (ms)", ylabel="predicted p95 (ms)", title=name)
            low, high = max(min(ends), 1e-2), max(ends)
            axes.set(xlim=(low, high), ylim=(low, high))
        for place, model in enumerate(models):
            grid[0][0].plot(
                [], [], color=f"C{place}", marker=_MARKERS[place % len(_MARKERS)], linestyle="none", label=model
            )
        grid[0][0].legend(fontsize=8, frameon=False)
