from __future__ import annotations

import json
from pathlib import Path

import pytest

from deeprec_env import InputError
from deeprec_env.policies.champions_markdown import scenario_table, table_over_all
from deeprec_env.policies.champions_table import COMPARED, cell_path, write
from deeprec_env.scenario.load import load_scenario
from tests.policies.test_load_table import crossing_scenario


def test_cells_that_are_done_stay_and_the_table_holds_them_all(tmp_path: Path) -> None:
    scenario = tmp_path / "crossing.yaml"
    scenario.write_text(crossing_scenario().model_dump_json(exclude_none=True), encoding="utf-8")  # JSON is YAML
    assert load_scenario(scenario) == crossing_scenario()
    folder, names = tmp_path / "cells", [str(scenario)]
    write(folder, names, ["flash"], seeds=1, queries=1500)
    path = cell_path(folder, str(scenario), "flash")
    first, written = path.read_bytes(), path.stat().st_mtime_ns
    entries = json.loads(first)["policies"]
    assert list(entries) == list(COMPARED)
    assert all(entry["capacity_qps"] is None for entry in entries.values())  # found beside the day
    assert entries["champion"]["setting"].count(",") >= 3  # it says what it is made of
    lines = (folder / "table.md").read_text(encoding="utf-8").splitlines()
    over_all, alone = lines[: lines.index("### crossing")], lines[lines.index("### crossing") :]
    for part in (over_all, alone):
        assert [line.split(" | ")[1] for line in part if line.startswith("| flash")] == list(COMPARED)
    champion = entries["champion"]["p95_hourly_ms"] / entries["load-table"]["p95_hourly_ms"]
    assert f"| flash | champion | {champion:.3f} |" in next(line for line in over_all if "champion" in line)
    write(folder, names, ["flash"], seeds=1, queries=1500)
    assert path.stat().st_mtime_ns == written
    with pytest.raises(InputError, match="seeds"):
        write(folder, names, ["flash"], seeds=2, queries=1500)


def test_figures_come_with_their_intervals_and_ratios_are_geometric_means() -> None:
    def entry(p95_ms: float, capacity_qps: float | None) -> dict[str, object]:
        return {
            "p95_hourly_ms": p95_ms,
            "p95_hourly_ci_ms": [p95_ms - 1, p95_ms + 2],
            "p99_day_ms": 20.0,
            "violation_rate": 0.01,
            "violation_rate_ci": [0.005, 0.02],
            "shed_rate": None,
            "shed_rate_ci": None,
            "goodput_qps": 100.0,
            "capacity_qps": capacity_qps,
        }

    cells = [
        {"policies": {"load-table": entry(10.0, 500.0), "champion": entry(5.0, None)}},
        {"policies": {"load-table": entry(10.0, 500.0), "champion": entry(20.0, 600.0)}},
    ]
    assert scenario_table("wnd", {"day": cells[0]})[-2] == (
        "| day | champion | 5.00 [4.00, 7.00] | 20.0 | 1.00 [0.50, 2.00] | 0.00 | 100 |  |"
    )
    beside, champion = table_over_all({"day": cells})[2:4]
    assert beside == "| day | load-table | 1.000 | 1.00 | 0.00 | 1.000 | 1.000 |"
    # sqrt(0.5 x 2) is 1, and two values ln 4 apart are wide: the t quantile of one degree is 12.7.
    assert champion.startswith("| day | champion | 1.000 [0.000, 6682")
    assert champion.endswith("| 1.00 | 0.00 | 1.000 |  |")
