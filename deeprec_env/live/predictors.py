"""Ways to predict a live run before it is seen, which `deeprec fidelity` holds against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from deeprec_env.live.calibration import calibrate
from deeprec_env.live.recording import Recording
from deeprec_env.live.replay import Comparison, replay_blind
from deeprec_env.scenario.load import load_scenario


@dataclass(frozen=True)
class Predictor:
    """A way to predict a run from its arrivals and setting, its node's profile, and runs of the node at other loads."""

    name: str
    predict: Callable[[Recording, Sequence[Recording]], Comparison]


def predictors(shipped: str) -> list[Predictor]:
    """Blind, with the profile that was measured before the runs and with a shipped one; calibrated on other runs."""

    def with_shipped(run: Recording, others: Sequence[Recording]) -> Comparison:
        return replay_blind(run, load_scenario(run.scenario, {"node.cpu.latency.profile": shipped}))

    return [
        Predictor("blind", lambda run, others: replay_blind(run)),
        Predictor("shipped", with_shipped),
        Predictor("calibrated", _calibrated),
    ]


def _calibrated(run: Recording, others: Sequence[Recording]) -> Comparison:
    calibration = calibrate(others)
    with TemporaryDirectory() as folder:
        path = calibration.write(Path(folder) / "calibrated.csv", {"cpu": "calibrated"}, run.scenario)
        return replay_blind(run, load_scenario(path))
