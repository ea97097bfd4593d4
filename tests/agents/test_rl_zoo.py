"""The shipped files in RL Zoo itself, where it is installed (it is no part of any extra)."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from deeprec_env import InputError, evaluate

pytest.importorskip("rl_zoo3", reason="RL Zoo is not installed: pip install rl_zoo3")


@pytest.mark.parametrize("algo", ["ppo", "dqn"])
def test_rl_zoo_trains_with_the_shipped_file(algo: str, tmp_path: Path) -> None:
    shipped = resources.files("deeprec_env.agents") / "hyperparams" / f"{algo}.yml"
    command = [sys.executable, "-m", "rl_zoo3.train", "--algo", algo, "--env", "DeepRec/Serving-v1"]
    command += ["--conf-file", str(shipped), "--gym-packages", "deeprec_env", "-n", "768", "--eval-freq", "-1"]
    command += ["-f", str(tmp_path), "--num-threads", "1", "--device", "cpu"]
    subprocess.run(command, check=True, capture_output=True)
    folder = tmp_path / algo / "DeepRec-Serving-v1_1"
    assert (folder / "DeepRec-Serving-v1.zip").is_file()
    with pytest.raises(
        InputError, match="DeepRec-Serving-v1.zip and .*vecnormalize.pkl" if algo == "ppo" else "pickles"
    ):
        evaluate("dlrm-rmc1", [folder], seeds=1, queries=1100)
    found = evaluate("dlrm-rmc1", {"zoo": folder}, seeds=1, queries=1100, trust=True)
    assert found.policies["zoo"].capacity_qps is not None
