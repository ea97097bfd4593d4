from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("stable_baselines3")

from deeprec_env import console
from deeprec_env.agents.training import train
from deeprec_env.cli.trained import app
from tests.agents.test_algorithms import small


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        console.run(app, "deeprec_env.agents.evaluate", [str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def test_an_agent_is_compared_with_the_baselines_on_the_scenario_it_was_trained_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    train(small("sac", tmp_path), folder)
    few = ("--baselines", "random,static", "--seeds", 2, "--queries", 1100)
    status, out, err = call(capsys, folder, *few, "--json")
    assert (status, err) == (0, "")
    result = json.loads(out)
    assert (result["schema_version"], result["split"], result["seeds"]) == (1, "test", [0, 1])
    assert result["sla_ms"] == 60
    assert set(result["policies"]) == {"random", "static", "sac"}
    assert result["policies"]["sac"]["capacity_qps"] >= 0.0
    status, out, _ = call(capsys, folder / "last_model.zip", *few, "--traffic", "flash")
    assert status == 0
    rows = [line.split()[0] for line in out.splitlines() if line and not line.startswith("hourly p95 ms:")]
    assert rows[-3:] == ["random", "static", "sac"]

    status, out, err = call(capsys, folder, "--scenario", "ncf-cpu", *few)
    assert (status, out) == (2, "")
    assert "was trained on the ladders" in err
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["scenario"]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert call(capsys, folder, *few)[2].startswith("error: scenario: got None; must be given")
    status, _, err = call(capsys, tmp_path / "nothing")
    assert status == 2
    assert err.startswith("error: policy: got ")
    assert err.count("\n") == 1
