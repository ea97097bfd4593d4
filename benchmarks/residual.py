"""An agent that adjusts the generalist's choice, trained on services drawn anew: does it gain over it alone?

    python -m benchmarks.residual [--timesteps 150000] [--seeds 2] [--entropy 0] [--days 3] [--folder F] [--json]

A service of training is random (`agents/generalist/services.py`), its node up to 50 % slower or 30 % faster than the
profile that the generalist is given, its day plain, with bursts, with flash crowds or with drifting sizes. The agent
(PPO of Stable-Baselines3) sees what a specialist remembers (`History`) and the generalist's setting, and moves it by up
to two levels of batch size and threshold; it begins as the generalist, and is rewarded for what a window brings more
than under the generalist alone in the same traffic. Judged on presets that no training holds, their
profiles right and wrong: its day metric in the generalist's, and the difference of late queries, by training seed
and over all of them, with 95 % intervals over the services. Trained agents are kept: stopped, the same command goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from benchmarks.generalist import profiled_and_true
from deeprec_env import Scenario, console
from deeprec_env.agents.generalist.services import draw_service
from deeprec_env.agents.vec_env import NodeVecEnv
from deeprec_env.analysis.day import day_of
from deeprec_env.envs.environments import SERVING
from deeprec_env.envs.observation import FIELDS
from deeprec_env.envs.vector import ServingVectorEnv
from deeprec_env.files import make_folder, replacing_path
from deeprec_env.policies.adaptive.generalist import GeneralistPolicy
from deeprec_env.policies.adaptive.specialist import History
from deeprec_env.policies.evaluation import paired
from deeprec_env.policies.evaluation.day_metrics import day_metrics, geometric_mean
from deeprec_env.policies.evaluation.episodes import run_policy
from deeprec_env.policies.evaluation.serving import TRAFFICS
from deeprec_env.progress import Progress, Step, part
from deeprec_env.scenario.pools import Contention
from deeprec_env.scenario.schema import Capacity

REACH = 2
"""Levels by which a choice may be moved, either way."""

HELD_OUT = ("wnd", "wnd:cores=23:cpu=1.3", "din:cpu=1.3", "dlrm-rmc3:accelerator=2", "ncf:cpu=0.85", "dlrm-rmc1")
FOLDER = Path("runs/residual")
TRAFFIC = ("day", "flash", "drift")

Indices = NDArray[np.int64]


class Adjusted:
    """The generalist's choices for some services, and what is seen of each: (features), and indices on the ladders."""

    def __init__(self, scenario: Scenario, count: int = 1) -> None:
        """`scenario`: any of the services, for the lengths of the ladders."""
        self._most = np.array([len(scenario.control.batch_sizes), len(scenario.thresholds)]) - 1
        self._history = History(FIELDS)
        self._states: list[Any] = [None] * count
        self._remembered: Any = None
        self._choices: Indices = np.zeros((count, 2), dtype=np.int64)
        self.width = self._history.width + 2

    def see(self, generalists: Sequence[GeneralistPolicy], observations: Any, starts: Any) -> Any:
        """Features after observations, (services, width); `starts`: whose episode has just begun."""
        for place, generalist in enumerate(generalists):
            now = slice(place, place + 1)
            self._choices[now], self._states[place] = generalist.predict(
                observations[now], self._states[place], starts[now]
            )
        rows, self._remembered = self._history.features(observations, self._remembered, starts)
        return np.concatenate([rows, self._choices / self._most], axis=-1).astype(np.float32)

    def moved(self, actions: Any) -> Indices:
        """The choices after actions."""
        return np.clip(self._choices + np.asarray(actions) - REACH, 0, self._most).astype(np.int64)


class AdjustedVecEnv(VecEnvWrapper):
    """Environments of drawn services, whose actions move the generalist's choice.

    The second half of the environments below meet the same traffic under the generalist alone: what an action is worth
    is the reward that it brings more.
    """

    def __init__(self, venv: NodeVecEnv, generalists: Mapping[int, GeneralistPolicy]) -> None:
        self._nodes: ServingVectorEnv = venv.env  # type: ignore[assignment]
        self._generalists = generalists
        self._adjusted = Adjusted(self._nodes.scenario, venv.num_envs)
        super().__init__(
            venv,
            observation_space=gym.spaces.Box(-20.0, 20.0, (self._adjusted.width,), np.float32),
            action_space=gym.spaces.MultiDiscrete([2 * REACH + 1] * 2),
        )
        self.num_envs = venv.num_envs // 2

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Give both halves the same seeds."""
        self.venv.seed(seed)
        self.venv._seeds[self.num_envs :] = self.venv._seeds[: self.num_envs]
        return self.venv._seeds[: self.num_envs]

    def reset(self) -> VecEnvObs:
        """First observations."""
        return self._see(np.asarray(self.venv.reset()), np.ones(self.venv.num_envs, dtype=bool))

    def step_async(self, actions: Any) -> None:
        """Take the actions of the next step."""
        self.venv.step_async(self._adjusted.moved(np.concatenate([actions, np.full_like(actions, REACH)])))

    def step_wait(self) -> VecEnvStepReturn:
        """Step as the environments do; episodes are discounted as if they went on."""
        seen, rewards, over, infos = self.venv.step_wait()
        for info in infos:
            info.pop("terminal_observation", None)
            info["TimeLimit.truncated"] = False
        own, alone = np.split(rewards, 2)
        return self._see(np.asarray(seen), over), own - alone, over[: self.num_envs], infos[: self.num_envs]

    def _see(self, observations: Any, starts: Any) -> Any:
        generalists = [self._generalists[id(scenario)] for scenario in self._nodes.scenarios]
        return self._adjusted.see(generalists, observations, starts)[: self.num_envs]


class ResidualPolicy:
    """A trained agent with its generalist, as a policy of one service."""

    def __init__(self, model: PPO | None, profiled: Scenario) -> None:
        """`model` None: the generalist as it is."""
        self._model, self._generalist, self._adjusted = model, GeneralistPolicy(profiled), Adjusted(profiled)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Indices, Any]:
        """The action for an observation."""
        features = self._adjusted.see([self._generalist], np.asarray(observation)[None], np.array([state is None]))
        action = REACH if self._model is None else self._model.predict(features[0], deterministic=True)[0]
        return self._adjusted.moved(action)[0], "running"


def draw_pool(count: int, rng: np.random.Generator) -> tuple[list[Scenario], dict[int, GeneralistPolicy]]:
    """True services with their days, and by their identity each one's generalist, which is told the profile.

    It remembers what it chose, for all trainings.
    """
    true: list[Scenario] = []
    generalists: dict[int, GeneralistPolicy] = {}
    while len(true) < count:
        drawn = draw_service(rng)
        if not drawn.has_accelerator:
            continue  # one ladder alone has nothing to be moved on
        estimate = GeneralistPolicy(drawn)
        service = estimate._services[0]
        slower = {kind: float(np.exp(rng.uniform(np.log(0.7), np.log(1.5)))) for kind in ("cpu", "accelerator")}
        factors = slower["cpu"], slower["accelerator"]
        loads = service.loads(np.ones(1), factors)[0].max(axis=-1)
        node = drawn.node
        assert node is not None
        pools = {kind: getattr(node, kind) for kind in slower if getattr(node, kind) is not None}
        changed = {
            kind: pool.model_copy(
                update={"contention": Contention(c=tuple(slower[kind] * each for each in pool.contention.c))}
            )
            for kind, pool in pools.items()
        }
        best = drawn.settings()[int(loads.argmin())]
        qps = 0.93 / float(loads.min())
        # A target that the node keeps up to there.
        sla_ms = 1e3 * float(np.exp(estimate.costs(service, np.array([0.85 * qps]), factors).min()))
        capacity = Capacity(qps=qps, batch_size=best.batch_size, threshold=best.threshold, found_by="estimate")
        day = day_of(drawn.replace(sla_ms=float(f"{1.3 * sla_ms:.4g}")), capacity)
        for traffic in (day, TRAFFICS[str(rng.choice(["day", "flash", "drift"]))](day)):
            here = traffic.replace(node=node.model_copy(update=changed))
            true.append(here)
            generalists[id(here)] = GeneralistPolicy(traffic)
    return true, generalists


def train(
    pool: list[Scenario],
    generalists: Mapping[int, GeneralistPolicy],
    timesteps: int,
    seed: int,
    entropy: float,
    progress: Progress,
) -> PPO:
    """PPO over the pool's services, drawn anew every episode."""
    several = ServingVectorEnv(2 * 32, lambda rng: pool[rng.integers(len(pool))], ladders="common", threads=1)
    venv: VecEnv = AdjustedVecEnv(NodeVecEnv(several), generalists)
    venv = VecNormalize(venv, norm_obs=False, norm_reward=True, gamma=0.5)
    torch.set_num_threads(1)
    model = PPO(
        "MlpPolicy",
        venv,
        n_steps=96,
        batch_size=512,
        n_epochs=6,
        gamma=0.5,
        gae_lambda=0.8,
        learning_rate=1e-3,
        ent_coef=entropy,
        seed=seed,
        device="cpu",
        policy_kwargs={"net_arch": [64, 64]},
    )
    with torch.no_grad():  # it begins as the generalist: the middle action, nearly always
        head = model.policy.action_net
        head.weight.mul_(0.01)
        head.bias.copy_(torch.tensor([0.0, 0.0, 2.0, 0.0, 0.0] * 2))
    venv.seed(seed * 1_000_000)

    def told(of: dict[str, Any], _: dict[str, Any]) -> bool:
        done = of["self"].num_timesteps
        progress(Step(f"train seed {seed}, {done} steps", done / timesteps))
        return True

    model.learn(timesteps, callback=told)
    return model


def trained(
    folder: Path,
    pool: list[Scenario],
    generalists: Mapping[int, GeneralistPolicy],
    timesteps: int,
    seed: int,
    entropy: float,
    progress: Progress,
) -> PPO:
    """The agent of a training, which is done once: it stays in the folder."""
    path = folder / f"seed-{seed}-services-{len(pool)}-steps-{timesteps}-entropy-{entropy:g}.zip"
    if not path.exists():
        make_folder("folder", folder)
        with replacing_path(path) as temporary:
            train(pool, generalists, timesteps, seed, entropy, progress).save(temporary)
    return PPO.load(path, device="cpu")


def main(
    timesteps: Annotated[int, typer.Option(help="Of every training.")] = 150_000,
    seeds: Annotated[int, typer.Option(help="Trainings.")] = 2,
    entropy: Annotated[float, typer.Option(help="What an action's entropy is worth, in rewards.")] = 0.0,
    services: Annotated[int, typer.Option(help="Services that are drawn from.")] = 96,
    days: Annotated[int, typer.Option(help="Test days.")] = 3,
    held_out: Annotated[str, typer.Option("--services-judged", help="Comma-separated.")] = ",".join(HELD_OUT),
    folder: Annotated[Path, typer.Option(help="Where trained agents are kept, and found again.")] = FOLDER,
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Train agents that adjust the generalist, and judge them on held-out services."""
    with console.telling("residual", quiet=json) as tell:
        tell("draw services")
        pool, generalists = draw_pool(services, np.random.default_rng(0))
        models: dict[str, PPO | None] = {"generalist": None}
        for seed in range(seeds):
            share = part(tell, 0.8 * seed / seeds, 0.8 * (seed + 1) / seeds)
            models[f"seed {seed}"] = trained(folder, pool, generalists, timesteps, seed, entropy, share)
        rows = _rows(models, held_out.split(","), days, part(tell, 0.8, 1.0))
    found = _summary(rows)
    if json:
        console.print_json({"timesteps": timesteps, "rows": rows, "summary": found})
        return
    console.print_table(
        "the generalist with an agent over it, of the generalist alone",
        ["service", "traffic", "generalist p95 ms", "p95 by seed", "late % more by seed"],
        [
            [
                row["service"],
                row["traffic"],
                f"{row['p95_ms']:.4g}",
                ", ".join(f"{each:.3f}" for each in row["ratios"]),
                ", ".join(f"{100 * each:+.2f}" for each in row["late_more"]),
            ]
            for row in rows
        ],
    )
    console.print_facts({f"{line['traffic']}, {line['seed']}": line["in_words"] for line in found})


def _rows(models: dict[str, PPO | None], services: list[str], days: int, tell: Progress) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, service in enumerate(services):
        tell(Step(f"judge {service}", number / len(services)))
        told, true = profiled_and_true(service)
        for traffic in TRAFFIC:
            here, seen = TRAFFICS[traffic](true), TRAFFICS[traffic](told)
            found = {}
            for name, model in models.items():
                env = SERVING.make(here)
                runs = [
                    day_metrics(run_policy(env, ResidualPolicy(model, seen), day, "test"), here) for day in range(days)
                ]
                late = float(np.mean([each.violation_rate for each in runs]))
                found[name] = geometric_mean([each.p95_hourly_s for each in runs]), late
            base = found.pop("generalist")
            rows.append(
                {
                    "service": service,
                    "traffic": traffic,
                    "p95_ms": base[0] * 1e3,
                    "ratios": [p95_s / base[0] for p95_s, _ in found.values()],
                    "late_more": [late - base[1] for _, late in found.values()],
                }
            )
    return rows


def _summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By traffic and training seed, and over all seeds: ratio of p95 and what is late more, intervals over services."""
    seeds, found = range(len(rows[0]["ratios"])), []
    for traffic in TRAFFIC:
        of_traffic = [row for row in rows if row["traffic"] == traffic]
        chosen = {f"seed {seed}": [seed] for seed in seeds} | {"all seeds": list(seeds)}
        for name, of in chosen.items():
            p95 = paired.ratio(
                [geometric_mean([row["ratios"][seed] for seed in of]) for row in of_traffic], [1.0] * len(of_traffic)
            )
            late = paired.mean([float(np.mean([row["late_more"][seed] for seed in of])) for row in of_traffic])
            assert p95 is not None
            words = f"p95 {p95.with_interval('.3f')}, late {late.with_interval('+.2f', 100.0)} points more"
            found.append(
                {
                    "traffic": traffic, "seed": name, "p95_ratio": p95.value, "p95_ci": p95.ci,
                    "late_more": late.value, "late_ci": late.ci, "in_words": words,
                }
            )  # fmt: skip
    return found


app = console.application("An agent over the generalist.")
app.command()(main)

if __name__ == "__main__":
    console.run(app, "benchmarks.residual")
