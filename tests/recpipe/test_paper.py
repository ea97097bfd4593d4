from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from deeprec_env import InputError
from deeprec_env.cli.main import main
from deeprec_env.recpipe.figures.experiment import experiment, lowest
from deeprec_env.recpipe.figures.headlines import highest_rate, p95_at
from deeprec_env.recpipe.figures.lines import cpu_gpu_grids
from deeprec_env.recpipe.figures.published import ENOUGH, HEADLINE, P95_MS
from deeprec_env.recpipe.figures.registry import FIGURES, write_figure

SLOW = {"10c"}
"""Takes seconds for its trace; the cache has tests of its own."""


@pytest.mark.parametrize("number", [number for number in FIGURES if number not in SLOW])
def test_every_figure_has_a_table_and_a_picture(number: str, tmp_path: Path) -> None:
    rows = write_figure(number, tmp_path, kinds=("png", "pdf"))
    with (tmp_path / f"figure{number}.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(rows) > 2
    assert (tmp_path / f"figure{number}.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / f"figure{number}.pdf").read_bytes()[:4] == b"%PDF"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["pipeline", "figure", "11", "--output", str(tmp_path / "new"), "--json"])
    assert stopped.value.code == 0
    payload = json.loads(capsys.readouterr().out)
    assert len(payload["data"]) == payload["rows"] == 12
    with pytest.raises(SystemExit) as stopped:
        main(["pipeline", "figure", "9"])
    assert stopped.value.code == 2
    assert "figure: got '9'; must be one of 2, 3, 7" in capsys.readouterr().err
    with pytest.raises(InputError, match="seed: got -1"):
        write_figure("2", tmp_path, seed=-1)


def test_the_headlines_of_the_artifacts_experiments(capsys: pytest.CaptureFixture[str]) -> None:
    """Two stages on split units against the whole chip: published 6.0 times the rate, 2.4 times the p95 at 333 qps."""
    with pytest.raises(SystemExit) as stopped:
        main(["pipeline", "headlines", "--quick", "--json"])
    assert stopped.value.code == 0
    rows = json.loads(capsys.readouterr().out)["headlines"]
    ratios = {row["headline"]: (row["ratio"], row["published"]) for row in rows}
    rate, busy, busier = (ratios[name] for name in ratios if name.startswith("RPAccel"))
    assert rate == (pytest.approx(HEADLINE["qps_ratio"]), HEADLINE["qps_ratio"])
    assert busy == (pytest.approx(HEADLINE["p95_ratio_333"], rel=0.1), HEADLINE["p95_ratio_333"])
    assert 3.0 < busier[0] < busier[1] == HEADLINE["p95_ratio_400"]
    *cpu_p95, cpu_rate = (ratios[name] for name in ratios if name.startswith("CPU"))
    assert all(ratio == pytest.approx(published, rel=0.1) for ratio, published in cpu_p95)
    assert 2.0 < cpu_rate[1] < cpu_rate[0]


def test_two_stages_on_cpu_cores_against_one() -> None:
    """p95 of the best pipelines of enough quality, within 18 % of the log up to 320 queries a second."""
    for stages, name in ((1, "CPU, 1 stage"), (2, "CPU, 2 stages")):
        line = lowest(experiment(cpu_gpu_grids(stages, gpu=False)))
        for qps, p95_ms in P95_MS[name]:
            if 70 < qps < 320:
                assert p95_at(line, qps) == pytest.approx(p95_ms, rel=0.18)
    one, two = (lowest(experiment(cpu_gpu_grids(stages, gpu=False))) for stages in (1, 2))
    assert 1.5 < p95_at(one, 150) / p95_at(two, 150) < 2.0
    assert highest_rate(two, 75.0) > 2 * highest_rate(one, 75.0)


def test_where_a_line_leaves_a_limit() -> None:
    line = [(1.0, 5.0), (2.0, 9.0), (3.0, 7.0), (4.0, 17.0)]
    assert highest_rate(line, 8.0) == pytest.approx(3.1)
    assert highest_rate(line, 4.0) == 0.0
    assert highest_rate(line, 20.0) == 4.0
    assert p95_at(line, 1.5) == 7.0
    with pytest.raises(ValueError, match="not on the line"):
        p95_at(line, 5.0)


def test_the_published_lines_are_the_logs(shared: Path) -> None:
    """`P95_MS` against the tables it was taken from."""
    logged: dict[str, dict[str, tuple[float, float]]] = {}
    for name in ("cpu_gpu_runs", "accelerator_runs"):
        with (shared / "recpipe" / f"{name}.csv").open() as file:
            for row in csv.DictReader(file):
                if float(row.get("ndcg64") or 1.0) > ENOUGH:
                    device = "RPAccel" if "hardconf" in row else "GPU" if "gpu" in row["gpu_flags"] else "CPU"
                    line = f"{device}, {row['stages']} stage{'s' if row['stages'] > '1' else ''}"
                    point = (float(row["total_p95_s"]) * 1e3, float(row["achieved_qps"]))
                    of = logged.setdefault(line, {})
                    of[row["arrival_mean_gap_ms"]] = min(of.get(row["arrival_mean_gap_ms"], point), point)
    for name, points in P95_MS.items():
        expected = sorted((qps, p95) for p95, qps in logged[name].values())
        found = [min(expected, key=lambda point: abs(point[0] - qps) + abs(point[1] - p95)) for qps, p95 in points]
        np.testing.assert_allclose(found, points, rtol=0.005)
