"""A comparison's episodes and capacities as pieces of work: the same figures whoever does them."""

from __future__ import annotations

import pytest

from deeprec_env import load_scenario
from deeprec_env.envs.environments import PIPELINE, SERVING
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.policies.evaluation.comparison import compare
from deeprec_env.policies.fixed.tune import TuneOptions
from tests.conftest import day_scenario
from tests.executors.elsewhere import Elsewhere

LADDERS = {"control.batch_sizes": [16, 100], "control.thresholds": [400, None]}
CASES = {
    "serving": (SERVING, day_scenario(), ["static", "grid-day", "load-table", "rate-oracle", "hindsight", "random"]),
    "pipeline": (PIPELINE, "recpipe-cpu", ["random"]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_figures_elsewhere(case: str) -> None:
    spec, described, names = CASES[case]
    scenario = load_scenario(described, LADDERS if case == "serving" else ())
    options = TuneOptions(queries=1100, days=2)

    def compared(**more: Elsewhere) -> dict[str, object]:
        return compare(spec, scenario, names, seed=2, seeds=2, options=options, **more).to_json()

    assert isinstance(spec, EnvSpec)
    assert compared(executor=Elsewhere()) == compared()


class Remembers:
    """Takes the next action at every step, through all the episodes that it is given."""

    def __init__(self) -> None:
        self.steps = 0

    def predict(self, observation: object, state: object = None, start: object = None, deterministic: bool = True):  # type: ignore[no-untyped-def]
        self.steps += 1
        return [self.steps % 2, 0], state


def test_an_object_meets_all_its_episodes_in_turn() -> None:
    scenario = load_scenario(day_scenario(), LADDERS)
    options = TuneOptions(queries=1100)
    here, there = (
        compare(SERVING, scenario, [Remembers()], seeds=2, options=options, choices={}, **more).to_json()
        for more in ({}, {"executor": Elsewhere()})
    )
    assert here == there
