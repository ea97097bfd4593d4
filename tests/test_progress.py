"""Long work tells how far it is: shares that rise from 0 and stay below 1 until the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deeprec_env import load_scenario
from deeprec_env.analysis.capacity import find_capacity
from deeprec_env.envs.environments import SERVING
from deeprec_env.policies.evaluation.comparison import compare
from deeprec_env.policies.fixed.tune import TuneOptions, tune
from deeprec_env.progress import Progress, Step
from deeprec_env.recpipe.design_space.schedule import schedule
from deeprec_env.recpipe.design_space.search import search
from deeprec_env.recpipe.design_space.space import load_space
from tests.conftest import day_scenario
from tests.recpipe.spaces import small_space

LADDERS = {"control.batch_sizes": [16, 100], "control.thresholds": [400, None]}


def _capacity(progress: Progress) -> None:
    find_capacity(day_scenario(), batch_size=64, queries=8000, progress=progress)


def _tune(method: str) -> Callable[[Progress], None]:
    scenario = load_scenario(day_scenario(), LADDERS)
    return lambda progress: void(tune(scenario, method, TuneOptions(queries=1500, days=2), progress))


def _evaluate(progress: Progress) -> None:
    options = TuneOptions(queries=1100)
    compare(SERVING, load_scenario(day_scenario()), ["static"], seeds=2, options=options, progress=progress)


def _schedule(objective: str) -> Callable[[Progress], None]:
    return lambda progress: void(
        schedule(
            small_space(), quality=0.5, qps=100, objective=objective, top=1, progress=lambda what, done: progress(what)
        )
    )


def void(result: object) -> None:
    assert result is not None


@pytest.mark.parametrize(
    "work",
    [
        _capacity,
        *map(_tune, ("deeprecsched", "deeprecsched-repository", "grid-capacity", "grid-day")),
        _evaluate,
        *map(_schedule, ("p95", "capacity")),
    ],
)
def test_shares_rise_to_the_end(work: Callable[[Progress], None]) -> None:
    told: list[str] = []
    work(told.append)
    shares = [what.share for what in told if isinstance(what, Step)]
    assert len(shares) == len(told) > 2
    assert shares[0] < 0.5
    assert max(shares) <= 1.0
    assert max(shares) > 0.5
    assert len(set(shares)) > 2


def test_an_interrupted_search_prints_no_traceback(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna")
    trials = 0

    def stop(what: str, done: int) -> None:
        nonlocal trials
        trials += 1
        if trials == 4:
            raise KeyboardInterrupt

    config = load_space(small_space())
    with pytest.raises(KeyboardInterrupt):
        search(config, tmp_path / "a", trials=8, seed=3, progress=stop)
    assert capfd.readouterr() == ("", "")
    search(config, tmp_path / "a", trials=8, seed=3)
    search(config, tmp_path / "b", trials=8, seed=3)
    assert (tmp_path / "a/cells.csv").read_bytes() == (tmp_path / "b/cells.csv").read_bytes()
