"""One training with several seeds on other machines: what each needs is sent there, and its folder comes back."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deeprec_env.agents.training import Trained, TrainSettings, train
from deeprec_env.agents.watch import Update
from deeprec_env.executors.executor import Executor
from deeprec_env.files import make_folder, replacing_path
from deeprec_env.scenario.load import load_scenario

Files = dict[str, bytes]
"""A folder's files by their paths within it."""

_LAST = "last_state.json"
"""Says that a training is there, and is written when all else is."""


@dataclass(frozen=True)
class _Shared:
    """The settings without what lies on this machine alone, and the text of their hyperparameters."""

    settings: TrainSettings
    hyperparams: str | None


def train_afar(
    jobs: Mapping[int, TrainSettings],
    folders: Mapping[int, Path],
    resumed: Mapping[int, bool],
    progress: Update,
    executor: Executor,
) -> dict[int, Trained]:
    """Train each by an executor; its folder is there once it is done, and steps are told then.

    What is in flight when the executor is lost begins again from the folder's checkpoint, if it has one.
    """
    settings = next(iter(jobs.values()))
    text = None if settings.hyperparams is None else settings.hyperparams.read_text(encoding="utf-8")
    shared = _Shared(replace(settings, scenario=load_scenario(settings.scenario), hyperparams=None), text)
    tasks = [(seed, _read(folders[seed]) if resumed[seed] else {}) for seed in jobs]
    done: dict[int, Trained] = {}
    for number, (trained, files) in executor.results(_train_there, shared, tasks):
        seed = tasks[number][0]
        _write(folders[seed], files)
        done[seed] = replace(trained, folder=folders[seed])
        progress(f"train, {len(done)} of {len(jobs)} seeds done", jobs[seed].total_timesteps())
    return {seed: done[seed] for seed in jobs}


def _train_there(shared: _Shared, task: tuple[int, Files]) -> tuple[Trained, Files]:
    """Train one seed, in a folder of this machine that is removed after it."""
    seed, before = task
    with tempfile.TemporaryDirectory() as there:
        folder, settings = Path(there) / "run", replace(shared.settings, seed=seed)
        if shared.hyperparams is not None:
            path = Path(there) / "hyperparams.yml"
            path.write_text(shared.hyperparams, encoding="utf-8")
            settings = replace(settings, hyperparams=path)
        _write(folder, before)
        trained = train(settings, folder, resume=bool(before))
        return trained, _read(folder)


def _read(folder: Path) -> Files:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _write(folder: Path, files: Files) -> None:
    for name in sorted(files, key=lambda name: name == _LAST):
        make_folder("output", (folder / name).parent)
        with replacing_path(folder / name) as path:
            path.write_bytes(files[name])
