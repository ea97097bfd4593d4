from __future__ import annotations

import json
from pathlib import Path

import pytest

from deeprec_env import InputError
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
    assert [line.split(" | ")[1] for line in lines if line.startswith("| flash")] == list(COMPARED)
    write(folder, names, ["flash"], seeds=1, queries=1500)
    assert path.stat().st_mtime_ns == written
    with pytest.raises(InputError, match="seeds"):
        write(folder, names, ["flash"], seeds=2, queries=1500)
