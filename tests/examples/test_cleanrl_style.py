from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import day_scenario

pytest.importorskip("torch")

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "cleanrl_style.py"


def test_the_single_file_ppo_learns_from_a_few_updates(tmp_path: Path) -> None:
    scenario = tmp_path / "node.yaml"
    scenario.write_text(yaml.safe_dump(day_scenario()), encoding="utf-8")
    options = ["--total-timesteps", "600", "--num-steps", "48", "--num-envs", "4", "--minibatch-size", "48"]
    command = [sys.executable, str(EXAMPLE), "--scenario", str(scenario), *options]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len([line for line in lines if line.startswith("step ")]) == 4
    trained, random = map(float, re.fullmatch(r"validation: return (\S+), random (\S+)", lines[-1]).groups())  # type: ignore[union-attr]
    assert trained > random
