"""The scenario that results are of."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.cli.results import PROFILE
from tests.conftest import day_scenario


@pytest.fixture
def scenario_file(tmp_path: Path) -> Path:
    """A scenario in a folder of its own, with a profile beside it."""
    folder = tmp_path / "described"
    folder.mkdir()
    (folder / "toy.csv").write_text(PROFILE, encoding="utf-8")
    data = day_scenario()
    data["node"]["cpu"]["latency"] = {"kind": "profile", "profile": "toy.csv", "model": "toy"}
    path = folder / "node.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path
