from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from deeprec_env import InputError, load_scenario
from deeprec_env.analysis.sweep import COLUMNS, Sweep
from deeprec_env.sources import sources_digest
from tests.conftest import day_scenario

OPTIONS: dict[str, Any] = {"percentile": 95.0, "queries": 1500, "precision": 0.05, "seed": 0, "engine": "compiled"}
CONTROL = {"batch_sizes": [16, 200], "thresholds": [300, None]}


def sweep(folder: Path, **changes: Any) -> Sweep:
    return Sweep(load_scenario(day_scenario(control=CONTROL)), "toy", folder, **(OPTIONS | changes))


class Interrupted(Exception):
    pass


def test_an_interrupted_sweep_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole = sweep(tmp_path / "whole")
    told: list[int] = []
    whole.run(lambda what, done: told.append(done))
    assert sum(told) == whole.settings == 4
    assert whole.pictures[0].read_bytes().startswith(b"\x89PNG")
    with whole.csv.open(encoding="utf-8") as file:
        next(file)
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["batch_size"], row["threshold"]) for row in rows] == [
        ("16", "300"), ("16", "null"), ("200", "300"), ("200", "null"),
    ]  # fmt: skip
    best = whole.to_json()["best"]
    assert best["qps"] == max(float(row["qps"]) for row in rows)

    def interrupt(what: str, done: int) -> None:
        if done == 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        sweep(tmp_path / "parts").run(interrupt)
    kept = (tmp_path / "parts" / "capacity.csv").read_text(encoding="utf-8")
    assert len(kept.splitlines()) == 3
    resumed = sweep(tmp_path / "parts", engine="asyncio")
    resumed.run()
    assert resumed.csv.read_bytes() == whole.csv.read_bytes()
    assert sorted(path.name for path in resumed.csv.parent.iterdir()) == ["capacity.csv", "capacity.png"]


def test_another_sweeps_file_is_refused(tmp_path: Path) -> None:
    first = sweep(tmp_path)
    first.run()
    for changes in ({"seed": 1}, {"queries": 1600}):
        with pytest.raises(InputError, match="another scenario or other options"):
            sweep(tmp_path, **changes)
    whole = first.csv.read_text(encoding="utf-8")
    digest = sources_digest()
    for changed in (whole.replace(digest, "0" * len(digest)), whole.replace(f", sources {digest}", "")):
        first.csv.write_text(changed, encoding="utf-8")
        with pytest.raises(InputError, match="computed by another version of the code; remove it"):
            sweep(tmp_path)
    lines = whole.splitlines()
    first.csv.write_text("\n".join([*lines[:2], lines[2].replace("16", "many", 1)]), encoding="utf-8")
    with pytest.raises(InputError, match="damaged"):
        sweep(tmp_path)


def test_bad_options_leave_no_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="queries"):
        sweep(tmp_path / "new", queries=5)
    assert not (tmp_path / "new").exists()
