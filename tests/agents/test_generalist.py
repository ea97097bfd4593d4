from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deeprec_env.agents.generalist import data
from deeprec_env.agents.generalist.__main__ import main
from deeprec_env.agents.generalist.services import HELD_OUT_CORES, draw_service
from deeprec_env.policies.adaptive.tail_network import read_network


def status(arguments: list[str]) -> object:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return stopped.value.code


def test_services_differ_and_leave_out_what_is_held_out() -> None:
    services = [draw_service(np.random.default_rng(seed)) for seed in range(60)]
    cores = [service.node.cpu.servers for service in services if service.node]
    assert not set(cores) & set(HELD_OUT_CORES)
    assert len(set(cores)) > 15
    kinds = {latency.kind for service in services for latency in service.latencies}
    assert kinds == {"affine", "profile"}
    assert 0.6 < np.mean([service.has_accelerator for service in services]) < 0.95
    assert draw_service(np.random.default_rng(3)).workload == services[3].workload


def test_one_command_simulates_once_and_writes_the_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deeprec_env.agents.generalist.fit.EPOCHS", 3)
    output, folder = tmp_path / "network.safetensors", tmp_path / "data"
    asked = [str(output), "--services", "20", "--data", str(folder), "--processes", "1", "--seed", "5", "--json"]
    assert status(asked) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["services"] == 20
    (made,) = folder.iterdir()
    written, network = made.stat().st_mtime_ns, read_network(output)
    assert network.facts["seed"] == 5
    assert status(asked) == 0
    assert made.stat().st_mtime_ns == written
    again = read_network(output)
    assert all(np.array_equal(again._of[name], network._of[name]) for name in network._of)
    (simulated, *_) = data.read_data(folder, 20, 5)
    assert (np.diff(simulated.qps, axis=1) > 0).all()
    assert (simulated.tails_s[..., 1] >= simulated.tails_s[..., 0]).all()


def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert status([str(tmp_path / "network.safetensors"), "--services", "7"]) == 2
    assert "multiple of 20" in capsys.readouterr().err
