"""`DeepRec/Serving-v1` steps in real time with engine="live"."""

from __future__ import annotations

import time
from pathlib import Path

import gymnasium as gym
import pytest

from deeprec_env.latency.table import LEVELS, ProfileRow, write_profile
from deeprec_env.live.engine import LiveEngine
from deeprec_env.scenario.load import load_scenario
from tests.live.scenarios import small


def test_steps_take_their_windows_and_queries_are_served(tmp_path: Path) -> None:
    rows = [ProfileRow("empty", "cpu", batch, "compute", 100, 0.1, (0.1,) * len(LEVELS)) for batch in (1, 1024)]
    write_profile(tmp_path / "empty.csv", {"rows_scale": "1"}, rows)
    latency = {"kind": "profile", "profile": str(tmp_path / "empty.csv"), "model": "empty"}
    scenario = load_scenario(small(), {"node.cpu.latency": latency, "control.interval_s": 0.25})
    env = gym.make("DeepRec/Serving-v1", scenario=scenario.model_dump(mode="json"), engine="live")
    try:
        observation, _ = env.reset(seed=0)
        node = env.unwrapped.engine  # type: ignore[attr-defined]
        assert isinstance(node, LiveEngine)
        begun_s, offered = time.perf_counter(), []
        for step in range(4):
            observation, reward, _, _, info = env.step([step, 0])
            assert env.observation_space.contains(observation)
            assert reward <= 1.0
            assert info["batch_size"] == scenario.control.batch_sizes[step]
            offered.append(info["offered_qps"] * 0.25)
        assert time.perf_counter() - begun_s >= 1.0
        assert node.arrived == pytest.approx(sum(offered))
        node.run_until_completed(node.arrived)
        records = node.records()
        assert set(records.batch_size.tolist()) == set(scenario.control.batch_sizes[:4])
    finally:
        env.close()
