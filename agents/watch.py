"""What watches a training: validations, checkpoints, and the files that tools for learning curves read."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import ResultsWriter, get_monitor_files

from deeprec_env.agents.agent import TrainedAgent
from deeprec_env.agents.evaluations import read_evaluations
from deeprec_env.agents.hyperparams import Hyperparams
from deeprec_env.agents.storage import save_checkpoint
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.policies.base import TunedPolicy
from deeprec_env.policies.evaluation.episodes import run_episode
from deeprec_env.policies.evaluation.evaluation import evaluation_of
from deeprec_env.scenario.schema import Scenario

Update = Callable[[str, int], None]


class Watch(BaseCallback):
    """Validates and saves every n steps; counts the queries that training and validation simulated.

    Leaves in the folder, beside the checkpoints, `evaluations.npz`, and `N.monitor.csv` with the training's episodes: a
    resumed training begins another, as `load_results` of Stable-Baselines3 reads all of them.
    """

    def __init__(
        self,
        spec: EnvSpec,
        scenario: Scenario,
        folder: Path,
        state: dict[str, Any],
        progress: Update,
        *,
        engine: str,
        reward: str | None,
        parameters: Hyperparams,
        validate_every: int,
    ) -> None:
        super().__init__()
        self.state = state
        self._folder, self._every, self._progress = folder, validate_every, progress
        self._scenario, self._evaluation = scenario, evaluation_of(spec)
        self._env = spec.make(scenario, engine=engine, reward=reward)
        self._mapping = parameters.wrapper.mapping(self._env.action_space) if parameters.wrapper else None
        # On the grid of a training without a break, so that the curves of several can be laid on each other.
        self._next = (state["timesteps"] // self._every + 1) * self._every
        self._evaluations = read_evaluations(folder, until=state["timesteps"])
        self._begun_s = time.time()
        self._monitor = ResultsWriter(
            str(folder / str(len(get_monitor_files(str(folder))))), {"t_start": self._begun_s, "env_id": spec.id}
        )

    def _on_step(self) -> bool:
        interval_s = self._env.interval_s
        infos = self.locals["infos"]
        self.state["queries"] += sum(round(info["offered_qps"] * interval_s) for info in infos)
        self.state["timesteps"] = self.num_timesteps
        for episode in (info["episode"] for info in infos if "episode" in info):
            now_s = round(time.time() - self._begun_s, 6)
            self._monitor.write_row({"r": float(episode["r"]), "l": int(episode["l"]), "t": now_s})
        self._progress("train", self.training_env.num_envs)
        if self.num_timesteps >= self._next:
            self._next += self._every
            self._validate()
        return True

    def _on_training_end(self) -> None:
        if self.state["best"].get("timesteps") != self.num_timesteps:
            self._validate()

    def checkpoint(self) -> None:
        """Save the last model, and what it needs to go on."""
        save_checkpoint(self._folder, "last", self.model, self.state, to_resume=True)

    def close(self) -> None:
        """Close the monitor's file."""
        self._monitor.close()

    def _validate(self) -> None:
        agent = TrainedAgent(self.model, self.model.get_vec_normalize_env(), self._mapping)
        evaluation, prepared = self._evaluation, TunedPolicy(agent, self._scenario, 0)
        runs = [run_episode(self._env, agent, seed, "validation") for seed in evaluation.validation_seeds]
        self.state["queries"] += sum(len(run.records) for run in runs)
        figures = [evaluation.measure(run, prepared) for run in runs]
        judged = evaluation.judge(figures, self._scenario)
        for name, value in (judged | {"timesteps": self.num_timesteps}).items():
            self.logger.record(f"validation/{name}", value)
        self.logger.dump(self.num_timesteps)  # now: some algorithms write their logs seldom
        best, objective = self.state["best"], evaluation.objective
        if not best or judged[objective] < best[objective]:
            self.state["best"] = judged | {"timesteps": self.num_timesteps}
            save_checkpoint(self._folder, "best", self.model, self.state)
        if self._evaluations.timesteps[-1:] != [self.num_timesteps]:  # the end of a training may be validated twice
            self._evaluations.add(self.num_timesteps, [run.rewards for run in runs], judged)
            self._evaluations.write(self._folder)
        self.checkpoint()
