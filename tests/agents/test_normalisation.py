"""Normalisation and wrappers of a saved agent: read as data, without running anything."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

from stable_baselines3.common.vec_env import VecNormalize

from deeprec_env import InputError
from deeprec_env.agents.hyperparams import load_wrapper, loaded_wrapper
from deeprec_env.agents.normalisation import load_normalisation, normalisation_path, save_normalisation
from deeprec_env.agents.vec_env import NodeVecEnv
from deeprec_env.envs.vector import CapacityVectorEnv, ServingVectorEnv
from deeprec_env.envs.wrappers import BoxActions
from tests.conftest import day_scenario


def under(normalise: VecNormalize, windows: int) -> list[Any]:
    """Observations and rewards of some random windows."""
    rng = np.random.default_rng(4)
    return [normalise.step(rng.integers(0, 13, (2, 2)))[:2] for _ in range(windows)]


def several() -> NodeVecEnv:
    venv = NodeVecEnv(ServingVectorEnv(2, day_scenario()))
    venv.seed(1)
    return venv


@pytest.mark.parametrize(
    "settings", [{}, {"norm_reward": False, "clip_obs": 1.5, "gamma": 0.5}, {"norm_obs": False, "epsilon": 1e-3}]
)
def test_a_saved_normalisation_goes_on_as_it_was(settings: dict[str, Any], tmp_path: Path) -> None:
    before = VecNormalize(several(), **settings)
    before.reset()
    under(before, 9)
    save_normalisation(before, normalisation_path(tmp_path, "best"))
    loaded = load_normalisation(tmp_path, "best")
    assert loaded is not None
    observations = np.random.default_rng(0).normal(0, 3, (5, 14)).astype(np.float32)
    for given in (observations, observations[0]):
        assert loaded.normalize_obs(given).tobytes() == before.normalize_obs(given).tobytes()  # type: ignore[union-attr]
    pickled = pickle.loads(pickle.dumps(before))  # what Stable-Baselines3 would have saved
    pickled.set_venv(several())
    again = loaded.over(several())
    for resumed in (pickled, again):
        resumed.reset()
    for ours, theirs in zip(under(again, 5), under(pickled, 5), strict=True):
        assert [each.tobytes() for each in ours] == [each.tobytes() for each in theirs]
    if before.norm_obs:
        other = NodeVecEnv(CapacityVectorEnv(2, day_scenario()))
        with pytest.raises(InputError, match="must be of observations"):
            loaded.over(other)


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> Any:
            return (tmp_path / "harm").mkdir, ()

    (tmp_path / "best_vecnormalize.pkl").write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(InputError, match=r"best_vecnormalize\.pkl'; is a pickle, of an older version, and is not read"):
        load_normalisation(tmp_path, "best")
    arrays = np.array([Harmful()], dtype=object)
    np.savez(normalisation_path(tmp_path, "last"), obs_mean=arrays)
    with pytest.raises(InputError, match="must be the normalisation"):
        load_normalisation(tmp_path, "last")
    assert not (tmp_path / "harm").exists()
    assert load_normalisation(tmp_path, "absent") is None


def test_numbers_that_cannot_be_are_refused(tmp_path: Path) -> None:
    before = VecNormalize(several())
    path = normalisation_path(tmp_path, "best")
    save_normalisation(before, path)
    with np.load(path) as file:
        whole = dict(file)
    for change in ({"obs_var": -whole["obs_var"]}, {"obs_mean": np.zeros(3)}, {"ret_mean": np.array(np.nan)}):
        np.savez(path, **whole | change)
        with pytest.raises(InputError, match="must be of one shape"):
            load_normalisation(tmp_path, "best")


def test_a_saved_agents_wrapper_is_imported_by_its_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from pathlib import Path\nfrom deeprec_env.envs.wrappers import BoxActions as Own\nPath({!r}).touch()\n"
    (tmp_path / "own_wrappers.py").write_text(source.format(str(tmp_path / "ran")), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match=r"config: got 'own_wrappers\.Own'; must be deeprec_env.envs.wrappers"):
        loaded_wrapper("own_wrappers.Own", "config")
    assert not (tmp_path / "ran").exists()
    assert load_wrapper("own_wrappers.Own", "file") is BoxActions
    assert (tmp_path / "ran").exists()
    assert loaded_wrapper("own_wrappers.Own", "config") is BoxActions
    del sys.modules["own_wrappers"]
    assert loaded_wrapper("deeprec_env.envs.wrappers.BoxActions", "config") is BoxActions
    assert loaded_wrapper(None, "config") is None


def test_a_lazy_module_is_not_made_to_import(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy, asked = ModuleType("lazy"), []
    vars(lazy)["__getattr__"] = asked.append
    monkeypatch.setitem(sys.modules, "lazy", lazy)
    with pytest.raises(InputError):
        loaded_wrapper("lazy.Wrapper", "config")
    assert asked == []
