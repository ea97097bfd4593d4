"""One training with several seeds, side by side in processes, and the learning curves over them."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import FrameType
from typing import Any

from deeprec_env.agents.curves import CONFIDENCE, Curves, read_curves
from deeprec_env.agents.curves_picture import draw_curves
from deeprec_env.agents.seeds_afar import train_afar
from deeprec_env.agents.training import MOST_SEED, Trained, TrainSettings, train, workers
from deeprec_env.agents.watch import Update
from deeprec_env.arguments import whole
from deeprec_env.cores import usable_cores
from deeprec_env.errors import InputError
from deeprec_env.executors.executor import Executor
from deeprec_env.extras import can_plot
from deeprec_env.files import make_folder
from deeprec_env.policies.evaluation.paired import Estimate
from deeprec_env.provenance import Question, asked
from deeprec_env.scenario.load import load_scenario
from deeprec_env.simulation.header import SCHEMA_VERSION, versions

MOST_SEEDS = 1000
_TOLD_EVERY_S = 0.2


@dataclass(frozen=True)
class TrainedSeeds:
    """Finished trainings by their seeds, and the curves of their validations."""

    folder: Path
    runs: Mapping[int, Trained]
    curves: Curves
    question: Question | None = field(default=None, compare=False, repr=False)

    def in_words(self) -> str:
        """The summary in a few lines."""
        curves = self.curves
        lines = [f"interquartile mean over {len(curves.seeds)} seeds, with its interval at {100 * CONFIDENCE:g} %"]
        for name in curves.figures:
            each = [Estimate(found[name]["iqm"], found[name]["iqm_ci"]) for found in (curves.final, curves.best)]
            last, best = (estimate.with_interval(".4g") for estimate in each)
            lines.append(f"{name}: {last} after {curves.timesteps[-1]:,} steps; best models {best}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The summary that `deeprec train --seeds` prints: of all at their last and best validations, and of each."""
        each = {
            str(seed): {"timesteps": run.timesteps, "queries": run.queries, "best": run.best}
            for seed, run in self.runs.items()
        }
        folders = (run.folder for run in self.runs.values())
        return {
            "schema_version": SCHEMA_VERSION,
            "folder": str(self.folder),
            "files": sorted(path.name for path in (*self.folder.glob("learning_curve.*"), *folders)),
            "objective": self.curves.objective,
            "timesteps": self.curves.timesteps[-1],
            "final": self.curves.final,
            "best": self.curves.best,
            "seeds": each,
            **asked(self.question),
            "versions": versions(),
        }


def train_seeds(
    settings: TrainSettings,
    seeds: int,
    folder: Path,
    *,
    resume: bool = False,
    progress: Update = lambda what, steps: None,
    processes: int | None = None,
    executor: Executor | None = None,
) -> TrainedSeeds:
    """Train with the seeds `settings.seed` and on, `seeds` in all, in a process a core unless `processes` says.

    Each seed's agent is the one that `train` makes of it, in a folder of its own within `folder`, named as RL Zoo names
    them; `folder` gets learning_curve.json, .csv and .png. An interrupt writes a checkpoint of every training that
    runs; `resume` goes on with them, begins those that had not begun, and may ask for more seeds or timesteps. An
    `executor` trains them elsewhere, and the folders come back (see `seeds_afar`).
    """
    first = settings.seed
    whole("seeds", seeds, 1, min(MOST_SEEDS, MOST_SEED + 1 - first))
    if "stdout" in settings.log:
        raise InputError("log", "stdout", "can't be of several seeds at once; take csv, json, log or tensorboard")
    jobs = {seed: replace(settings, seed=seed) for seed in range(first, first + seeds)}
    folders = {seed: folder / f"{settings.spec.id.replace('/', '-')}_{seed}" for seed in jobs}
    _check_begun(folders, folder, resume=resume)
    evaluation = settings.evaluation
    # Bad scenarios before processes; and what it takes to know its day is found, and kept, once for all of them.
    evaluation.prepare(load_scenario(settings.scenario), settings.engine, evaluation.choices)
    make_folder("output", folder)
    if executor is None:
        runs = _train_all(jobs, folders, resume, progress, processes or usable_cores())
    else:
        resumed = {seed: resume and has_begun(folders[seed]) for seed in jobs}
        runs = train_afar(jobs, folders, resumed, progress, executor)
    curves = read_curves(folders, evaluation.objective)
    curves.write(folder)
    if can_plot():
        name = settings.scenario if isinstance(settings.scenario, str | Path) else "a scenario"
        title = f"{settings.algo} on {Path(name).stem}, {seeds} seed{'s' if seeds > 1 else ''}"
        draw_curves(folder / "learning_curve.png", curves, title=title)
    return TrainedSeeds(folder, runs, curves, _question(settings, seeds, runs))


def has_begun(folder: Path) -> bool:
    """Whether a training's folder holds a checkpoint."""
    return (folder / "last_state.json").exists()


def _check_begun(folders: Mapping[int, Path], folder: Path, *, resume: bool) -> None:
    there = [seed for seed in folders if has_begun(folders[seed])]
    if there and not resume:
        raise InputError(
            "output", str(folder), "holds trainings already: resume them (--resume), or name another folder"
        )
    if resume and not there:
        raise InputError("output", str(folder), f"must hold trainings of seeds {min(folders)} to {max(folders)}")
    stem = next(iter(folders.values())).name.rpartition("_")[0]
    others = [path.name for path in folder.glob(f"{stem}_*") if has_begun(path) and path not in folders.values()]
    if others:
        allowed = f"must include all that the folder holds: {', '.join(sorted(others)[:5])} too"
        raise InputError("seeds", len(folders), allowed)


def _question(settings: TrainSettings, seeds: int, runs: Mapping[int, Trained]) -> Question | None:
    """That of the first training, asked of all of them."""
    one = runs[settings.seed].question
    if one is None:
        return None
    reasons = (run.question.unrepeatable for run in runs.values() if run.question)
    unrepeatable = next(filter(None, reasons), "")
    return replace(one, command="train --seeds", arguments={**one.arguments, "seeds": seeds}, unrepeatable=unrepeatable)


def _train_all(
    jobs: Mapping[int, TrainSettings], folders: Mapping[int, Path], resume: bool, progress: Update, processes: int
) -> dict[int, Trained]:
    """Train each in a process of its own, some at once; whatever ends this, all of them have ended."""
    waiting, running, done = list(jobs), dict[Connection, tuple[int, ForkServerProcess]](), dict[int, Trained]()
    context = workers()
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                seed = waiting.pop(0)
                here, there = context.Pipe(duplex=False)
                going_on = resume and has_begun(folders[seed])
                process = context.Process(target=_work, args=(jobs[seed], folders[seed], going_on, there))
                process.start()
                there.close()
                running[here] = seed, process
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                seed, process = running[connection]
                told = _received(connection, seed)
                if isinstance(told, InputError):
                    raise told
                if isinstance(told, int):
                    progress(f"train, {len(done)} of {len(jobs)} seeds done", told)
                    continue
                done[seed] = told
                process.join()
                del running[connection]
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()
    return {seed: done[seed] for seed in jobs}


def _received(connection: Connection, seed: int) -> int | Trained | InputError:
    try:
        told: int | Trained | InputError = connection.recv()
    except EOFError:
        raise RuntimeError(f"the training of seed {seed} died; its own error is above") from None
    return told


def _work(settings: TrainSettings, folder: Path, resume: bool, connection: Connection) -> None:
    """Train in this process; tells steps done since, now and then, and last what came of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that began this one, which then ends it
    signal.signal(signal.SIGTERM, _interrupt)
    steps, told_s = 0, time.monotonic()

    def tell(what: str, done: int) -> None:
        nonlocal steps, told_s
        steps += done
        if time.monotonic() - told_s >= _TOLD_EVERY_S:
            connection.send(steps)
            steps, told_s = 0, time.monotonic()

    try:
        trained = train(settings, folder, resume=resume, progress=tell)
        connection.send(steps)
        connection.send(trained)
    except InputError as error:
        connection.send(error)
    except KeyboardInterrupt:
        pass  # asked for; the checkpoint is written


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would break into the writing of the checkpoint
    raise KeyboardInterrupt
