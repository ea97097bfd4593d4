from __future__ import annotations

import copy
import subprocess
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from deeprec_env import InputError
from deeprec_env.envs import CAPACITY, SERVING, ServingEnv
from tests.conftest import day_scenario, pipeline_day

both = pytest.mark.parametrize("name", [SERVING, CAPACITY])


def make(name: str, mode: str | None, scenario: dict[str, Any] | None = None) -> Any:
    return gym.make(f"deeprec_env:{name}", scenario=scenario or day_scenario(), render_mode=mode).unwrapped


def run(env: Any, windows: int, seed: int = 0) -> None:
    env.reset(seed=seed)
    for action in np.random.default_rng(seed).integers(0, 13, (windows, 2)):
        env.step(action)


@both
def test_both_checkers_pass_in_every_render_mode(name: str) -> None:
    pytest.importorskip("matplotlib")
    stable_baselines = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is out of date")  # of v1: Gymnasium says that there is a newer one
        env = gym.make(f"deeprec_env:{name}", scenario=day_scenario())
        assert env.metadata["render_modes"] == ["ansi", "rgb_array"]
        assert env.metadata["render_fps"] > 0
        check_env(env.unwrapped)  # makes one of each mode
        for mode in env.metadata["render_modes"]:
            stable_baselines.check_env(make(name, mode))


@both
def test_lines_say_what_the_info_says(name: str) -> None:
    env = make(name, "ansi")
    with pytest.raises(RuntimeError, match="call reset"):
        env.render()
    env.reset(seed=0)
    assert "nothing has happened" in env.render()
    _, _, _, _, info = env.step(np.array([5, 12]))
    text = env.render()
    for part in (
        f"window 1/{env.windows}, {env.interval_s:.3f} s: batch size 64, threshold never",
        f"{info['offered_qps']:.0f} queries/s in, {info['completed_qps']:.0f} out, {info['backlog']:.0f} in flight",
        f"{info['p50_ms']:.3g}, {info['p95_ms']:.3g}, {info['p99_ms']:.3g} ms",
        "the target of 60 ms",
        f"CPU {info['cpu_utilisation']:.0%}, accelerator {info['accelerator_utilisation']:.0%}",
    ):
        assert part in text


def test_a_node_without_an_accelerator_shows_none() -> None:
    data = day_scenario()
    del data["node"]["accelerator"]
    for mode in ("ansi", "rgb_array"):
        env = make(SERVING, mode, data)
        env.reset(seed=0)
        env.step(np.array([5, 0]))
        shown = env.render()
        assert mode == "rgb_array" or "accelerator" not in shown


@pytest.mark.parametrize(("name", "scenario"), [(SERVING, day_scenario()), (CAPACITY, pipeline_day())])
def test_a_picture_grows_with_the_episode_and_depends_on_nothing_else(name: str, scenario: dict[str, Any]) -> None:
    pytest.importorskip("matplotlib")
    env, other = make(name, "rgb_array", scenario), make(name, "rgb_array", scenario)
    seen = []
    env.reset(seed=0)
    for action in np.random.default_rng(0).integers(0, 13, (4, 2)):
        seen.append(env.render())
        env.step(action)
    assert {(picture.shape, str(picture.dtype)) for picture in seen} == {((600, 800, 3), "uint8")}
    assert all((one != next_).any() for one, next_ in pairwise(seen))
    run(other, 4)
    assert (copy.deepcopy(other).render() == other.render()).all()
    other.reset(seed=0)
    assert (other.render()[50:] == seen[0][50:]).mean() > 0.9  # only the axes may have stayed longer


def test_rendering_changes_nothing_and_needs_a_mode() -> None:
    plain, drawn = make(SERVING, None), make(SERVING, "ansi")
    plain.reset(seed=1)
    drawn.reset(seed=1)
    for action in np.random.default_rng(1).integers(0, 13, (5, 2)):
        drawn.render()
        assert repr(plain.step(action)) == repr(drawn.step(action))
    with pytest.warns(UserWarning, match="render_mode"):
        assert plain.render() is None
    with pytest.raises(InputError, match="render_mode"):
        ServingEnv(day_scenario(), render_mode="human")


@both
def test_record_video_makes_a_film_whose_pictures_change(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("moviepy")
    import imageio_ffmpeg

    env = make(name, "rgb_array")
    env.windows = 5
    film = gym.wrappers.RecordVideo(
        env, str(tmp_path / "film"), episode_trigger=lambda episode: True, disable_logger=True
    )
    film.reset(seed=0)
    for action in np.random.default_rng(0).integers(0, 13, (5, 2)):
        film.step(action)
    film.close()
    (path,) = (tmp_path / "film").glob("*.mp4")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    read = subprocess.run(command, capture_output=True, check=True)
    pictures = np.frombuffer(read.stdout, dtype=np.uint8).reshape(-1, 600, 800, 3).astype(int)
    assert len(pictures) == 6  # the first is the start
    assert (np.abs(np.diff(pictures, axis=0)).max(axis=(1, 2, 3)) > 50).all()
