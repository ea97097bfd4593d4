"""Agents from anywhere that can't be evaluated, or may not be read: one line, before anything runs."""

from __future__ import annotations

import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

from stable_baselines3 import A2C
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from deeprec_env import InputError, evaluate
from deeprec_env.agents.foreign import load_foreign
from deeprec_env.envs import CapacityEnv, ServingEnv
from tests.agents.models import FEW, SCENARIO, environments, saved, trained
from tests.conftest import day_scenario
from tests.test_cli import call


class OwnPolicy(ActorCriticPolicy):
    """A class that no algorithm is known by."""


def other_file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def without_normalisation(folder: Path, ppo: Path) -> Path:
    several = environments(normalise=True)
    model = trained(A2C, several)
    model._last_obs = np.full((2, 14), -3.0, np.float32)
    model.save(folder / "bare.zip")
    return folder / "bare.zip"


def with_pickle(content: Any) -> Callable[[Path, Path], Path]:
    def made(folder: Path, ppo: Path) -> Path:
        shutil.copy(ppo, folder / "best_model.zip")
        (folder / "vecnormalize.pkl").write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
        return folder / "best_model.zip"

    return made


def of_other_observations(folder: Path, ppo: Path) -> Path:
    several = DummyVecEnv([lambda: CapacityEnv(day_scenario())])
    return saved(folder, A2C, several)


def under_other_normalisation(folder: Path, ppo: Path) -> Path:
    several = VecNormalize(DummyVecEnv([lambda: CapacityEnv(day_scenario())]))
    shutil.copy(ppo, folder / "best_model.zip")
    several.save(str(folder / "vecnormalize.pkl"))
    return folder


def of_other_ladders(folder: Path, ppo: Path) -> Path:
    other = day_scenario(control={"interval_s": 0.1, "batch_sizes": [8, 32]})
    return saved(folder, A2C, DummyVecEnv([lambda: ServingEnv(other)]))


def of_own_policy(folder: Path, ppo: Path) -> Path:
    several = environments()
    A2C(OwnPolicy, several, device="cpu").save(folder / "own.zip")
    return folder / "own.zip"


def zipped(folder: Path, ppo: Path) -> Path:
    with zipfile.ZipFile(folder / "notes.zip", "w") as archive:
        archive.writestr("notes.txt", "nothing")
    return folder / "notes.zip"


def flipped(folder: Path, ppo: Path) -> Path:
    """A zip whose weights are damaged, while its directory is whole."""
    content = bytearray(ppo.read_bytes())
    with zipfile.ZipFile(ppo) as archive:
        at = archive.getinfo("policy.pth").header_offset + 200
    content[at : at + 50] = bytes(50)
    return other_file(folder, "flipped.zip", bytes(content))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda folder, ppo: other_file(folder, "cut.zip", ppo.read_bytes()[:3000]),
            "must be a model saved by Stable-",
        ),
        (lambda folder, ppo: other_file(folder, "empty.zip", b""), "must be a model saved by Stable-Baselines3"),
        (lambda folder, ppo: other_file(folder, "agent.pt", b"weights"), "must be a model saved by Stable-Baselines3"),
        (zipped, "must be a model saved by Stable-Baselines3"),
        (flipped, "must be a model saved by Stable-Baselines3"),
        (of_other_ladders, "must choose from MultiDiscrete([13 13]) or Discrete(169) or Box(-1.0, 1.0, (2,), float32)"),
        (of_other_observations, "must observe Box(-1.0, 10.0, (14,), float32), or several of it as VecFrameStack"),
        (under_other_normalisation, "its normalisation must be of observations (14,), not (13,)"),
        (without_normalisation, "it needs its VecNormalize (vecnormalize.pkl beside the model)"),
        (with_pickle(b""), "vecnormalize.pkl'; must be a pickled VecNormalize"),
        (with_pickle(b"no pickle"), "vecnormalize.pkl'; must be a pickled VecNormalize"),
        (with_pickle([1, 2]), "vecnormalize.pkl'; must be a pickled VecNormalize, not list"),
        (
            of_own_policy,
            "does not say its algorithm (its policy's class is of tests.agents.test_foreign_refused); write ALGO:",
        ),
        (lambda folder, ppo: f"a2c:{ppo}", "holds a model of ppo, not a2c"),
        (lambda folder, ppo: f"alchemy:{ppo}", "must begin with one of ppo, ppo_lstm, a2c"),
        (lambda folder, ppo: folder / "nosuch.zip", "must be one of static, "),
        (lambda folder, ppo: f"ppo:{folder / 'nosuch.zip'}", "must be a model saved by Stable-Baselines3 ("),
        (lambda folder, ppo: folder, "must be a policy's name, a training's folder or its *_model.zip"),
    ],
)
def test_what_can_not_be_evaluated_is_one_line_before_anything_runs(
    make: Callable[[Path, Path], Path | str],
    message: str,
    ppo: Path,
    node: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "agent"
    folder.mkdir()
    policy = make(folder, ppo)
    status, out, err = call(capsys, "evaluate", node, "--policies", f"random,static,{policy}", *FEW, "--trust")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
    told: list[Any] = []
    with pytest.raises(InputError):
        evaluate(str(node), ["random", "static", str(policy)], trust=True, progress=told.append)
    assert told == []


def test_the_algorithm_can_be_said(ppo: Path, tmp_path: Path) -> None:
    path = of_own_policy(tmp_path, ppo)
    found = load_foreign(f"a2c:{path}", SCENARIO, trust=True)
    assert found.policy.predict(np.zeros(14, np.float32))[0].shape == (2,)


def test_nothing_is_unpickled_without_trust(ppo: Path, node: Path, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    shutil.copy(ppo, folder / "best_model.zip")
    (folder / "vecnormalize.pkl").write_bytes(pickle.dumps(Trap(str(tmp_path / "sprung"))))
    for path in (folder, folder / "best_model.zip"):
        for policy in (path, str(path)):
            with pytest.raises(InputError, match=r"holds pickles .*vecnormalize.pkl\), which can run any code"):
                evaluate(str(node), [policy], seeds=1)
    assert not (tmp_path / "sprung").exists()
    with pytest.raises(InputError, match="must be a pickled VecNormalize"):
        evaluate(str(node), [folder], seeds=1, trust=True)
    assert (tmp_path / "sprung").exists()  # the trap works


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)
