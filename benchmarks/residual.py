"""An agent that adjusts the generalist's choice, trained on services drawn anew: does it gain over it alone?

    python -m benchmarks.residual [--timesteps 150000] [--seeds 2] [--services 96] [--days 3] [--json]

A service of training is random (`agents/generalist/services.py`), its node up to 50 % slower or 30 % faster than the
profile that the generalist is given, its day plain, with bursts, with flash crowds or with drifting sizes. The agent
(PPO of Stable-Baselines3) sees what a specialist remembers (`History`) and the generalist's setting, and moves it by up
to two levels of batch size and threshold; it begins as the generalist. Judged on presets that no training holds, their
profiles right and wrong: its day metric in the generalist's, and the difference of late queries, by training seed.
"""

from __future__ import annotations

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
from deeprec_env.policies.adaptive.generalist import GeneralistPolicy
from deeprec_env.policies.adaptive.specialist import History
from deeprec_env.policies.evaluation.day_metrics import day_metrics, geometric_mean
from deeprec_env.policies.evaluation.episodes import run_policy
from deeprec_env.policies.evaluation.serving import TRAFFICS
from deeprec_env.progress import Progress, Step
from deeprec_env.scenario.pools import Contention
from deeprec_env.scenario.schema import Capacity

REACH = 2
"""Levels by which a choice may be moved, either way."""

HELD_OUT = ("wnd", "wnd:cores=23:cpu=1.3", "din:cpu=1.3", "dlrm-rmc3:accelerator=2", "ncf:cpu=0.85", "dlrm-rmc1")
TRAFFIC = ("day", "flash", "drift")

Indices = NDArray[np.int64]


class Adjusted:
    """The generalist's choice for one service, and what is seen of it: (features) and indices on the ladders."""

    def __init__(self, profiled: Scenario) -> None:
        self.generalist, self._history = GeneralistPolicy(profiled), History(FIELDS)
        self.most = np.array([len(profiled.control.batch_sizes), len(profiled.thresholds)]) - 1
        self._state: Any = None
        self._remembered: Any = None
        self.width = self._history.width + 2

    def see(self, observation: Any, start: bool) -> tuple[Any, Indices]:
        """Features, and the generalist's choice, after an observation."""
        choice, self._state = self.generalist.predict(observation[None], self._state, np.array([start]))
        rows, self._remembered = self._history.features(observation[None], self._remembered, np.array([start]))
        return np.concatenate([rows[0], choice[0] / self.most]).astype(np.float32), choice[0]

    def moved(self, choice: Indices, action: Any) -> Indices:
        """The choice after an action."""
        return np.clip(choice + np.asarray(action) - REACH, 0, self.most).astype(np.int64)


class AdjustedVecEnv(VecEnvWrapper):
    """Environments of drawn services, whose actions move the generalist's choice."""

    def __init__(self, venv: NodeVecEnv, profiled: dict[int, Scenario]) -> None:
        self._nodes: ServingVectorEnv = venv.env  # type: ignore[assignment]
        self._profiled = profiled
        self._known: dict[tuple[int, int], Adjusted] = {}
        width = Adjusted(next(iter(profiled.values()))).width
        super().__init__(
            venv,
            observation_space=gym.spaces.Box(-20.0, 20.0, (width,), np.float32),
            action_space=gym.spaces.MultiDiscrete([2 * REACH + 1] * 2),
        )
        self._choices: list[Indices] = []

    def reset(self) -> VecEnvObs:
        """First observations."""
        return self._see(np.asarray(self.venv.reset()), np.ones(self.num_envs, dtype=bool))

    def step_async(self, actions: Any) -> None:
        """Take the actions of the next step."""
        moved = [each.moved(*pair) for each, *pair in zip(self._present, self._choices, actions, strict=True)]
        self.venv.step_async(np.array(moved))

    def step_wait(self) -> VecEnvStepReturn:
        """Step as the environments do; episodes are discounted as if they went on."""
        seen, rewards, over, infos = self.venv.step_wait()
        for info in infos:
            info.pop("terminal_observation", None)
            info["TimeLimit.truncated"] = False
        return self._see(np.asarray(seen), over), rewards, over, infos

    @property
    def _present(self) -> list[Adjusted]:
        found = []
        for place, scenario in enumerate(self._nodes.scenarios):
            key = place, id(scenario)
            if key not in self._known:
                self._known[key] = Adjusted(self._profiled[id(scenario)])
            found.append(self._known[key])
        return found

    def _see(self, observations: Any, starts: Any) -> Any:
        pairs = [
            each.see(row, bool(start)) for each, row, start in zip(self._present, observations, starts, strict=True)
        ]
        self._choices = [choice for _, choice in pairs]
        return np.stack([features for features, _ in pairs])


class ResidualPolicy:
    """A trained agent with its generalist, as a policy of one service."""

    def __init__(self, model: PPO | None, profiled: Scenario) -> None:
        """`model` None: the generalist as it is."""
        self._model, self._adjusted = model, Adjusted(profiled)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Indices, Any]:
        """The action for an observation."""
        features, choice = self._adjusted.see(np.asarray(observation), state is None)
        action = REACH if self._model is None else self._model.predict(features, deterministic=True)[0]
        return self._adjusted.moved(choice, action), "running"


def draw_pool(count: int, rng: np.random.Generator) -> tuple[list[Scenario], dict[int, Scenario]]:
    """True services with their days, and by their identity what the generalist is told of each."""
    true: list[Scenario] = []
    profiled: dict[int, Scenario] = {}
    while len(true) < count:
        drawn = draw_service(rng)
        if not drawn.has_accelerator:
            continue  # one ladder alone has nothing to be moved on
        estimate = GeneralistPolicy(drawn)
        loads = estimate._services[0].loads(np.ones(1))[0].max(axis=-1)
        slower = {kind: float(np.exp(rng.uniform(np.log(0.7), np.log(1.5)))) for kind in ("cpu", "accelerator")}
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
        qps = 0.93 / float(loads.min()) / max(slower.values())
        # A target that the node keeps up to there: some times what the mean query takes.
        sla_ms = 1e3 * float(np.exp(estimate.costs(estimate._services[0], np.array([0.85 * qps])).min()))
        capacity = Capacity(qps=qps, batch_size=best.batch_size, threshold=best.threshold, found_by="estimate")
        day = day_of(drawn.replace(sla_ms=float(f"{1.3 * sla_ms:.4g}")), capacity)
        for traffic in (day, TRAFFICS[str(rng.choice(["day", "flash", "drift"]))](day)):
            told = traffic
            here = traffic.replace(node=node.model_copy(update=changed))
            true.append(here)
            profiled[id(here)] = told
    return true, profiled


def train(pool: list[Scenario], profiled: dict[int, Scenario], timesteps: int, seed: int) -> PPO:
    """PPO over the pool's services, drawn anew every episode."""
    several = ServingVectorEnv(32, lambda rng: pool[rng.integers(len(pool))], ladders="common")
    venv: VecEnv = AdjustedVecEnv(NodeVecEnv(several), profiled)
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
        ent_coef=0.002,
        seed=seed,
        device="cpu",
        policy_kwargs={"net_arch": [64, 64]},
    )
    with torch.no_grad():  # it begins as the generalist: the middle action, nearly always
        head = model.policy.action_net
        head.weight.mul_(0.01)
        head.bias.copy_(torch.tensor([0.0, 0.0, 2.0, 0.0, 0.0] * 2))
    venv.seed(seed * 1_000_000)
    model.learn(timesteps)
    return model


def main(
    timesteps: Annotated[int, typer.Option(help="Of every training.")] = 150_000,
    seeds: Annotated[int, typer.Option(help="Trainings.")] = 2,
    services: Annotated[int, typer.Option(help="Services that are drawn from.")] = 96,
    days: Annotated[int, typer.Option(help="Test days.")] = 3,
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Train agents that adjust the generalist, and judge them on held-out services."""
    with console.telling("residual", quiet=json) as tell:
        tell("draw services")
        pool, profiled = draw_pool(services, np.random.default_rng(0))
        models: dict[str, PPO | None] = {"generalist": None}
        for seed in range(seeds):
            tell(Step(f"train seed {seed}", 0.1 + 0.6 * seed / seeds))
            models[f"seed {seed}"] = train(pool, profiled, timesteps, seed)
        rows = _rows(models, days, tell)
    if json:
        console.print_json({"timesteps": timesteps, "rows": rows})
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
    means = [geometric_mean([row["ratios"][seed] for row in rows]) for seed in range(seeds)]
    console.print_facts({"geometric mean of p95 by seed": ", ".join(f"{mean:.3f}" for mean in means)})


def _rows(models: dict[str, PPO | None], days: int, tell: Progress) -> list[dict[str, Any]]:
    rows = []
    for number, service in enumerate(HELD_OUT):
        told, true = profiled_and_true(service)
        for traffic in TRAFFIC:
            tell(Step(f"judge {service}, {traffic}", 0.7 + 0.3 * number / len(HELD_OUT)))
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


app = console.application("An agent over the generalist.")
app.command()(main)

if __name__ == "__main__":
    console.run(app, "benchmarks.residual")
