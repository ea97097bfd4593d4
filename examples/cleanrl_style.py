"""PPO in one file, in the manner of CleanRL: plain PyTorch over Gymnasium's vector environment.

python examples/cleanrl_style.py --scenario wnd --total-timesteps 50000
"""

from __future__ import annotations

import argparse
import math
import time

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--scenario", default="wnd", help="preset or YAML file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--total-timesteps", type=int, default=50_000)
    parser.add_argument("--num-envs", type=int, default=8)
    parser.add_argument("--num-steps", type=int, default=96, help="steps of an environment between updates")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="falls to 0 over the training")
    parser.add_argument("--gamma", type=float, default=0.5, help="low: what a window brings is known soon")
    parser.add_argument("--gae-lambda", type=float, default=0.8)
    parser.add_argument("--update-epochs", type=int, default=10)
    parser.add_argument("--minibatch-size", type=int, default=128)
    parser.add_argument("--clip-coef", type=float, default=0.2)
    parser.add_argument("--ent-coef", type=float, default=0.001)
    parser.add_argument("--vf-coef", type=float, default=0.5)
    parser.add_argument("--max-grad-norm", type=float, default=0.5)
    parser.add_argument("--eval-days", type=int, default=4, help="validation days at the end")
    return parser.parse_args()


def layer(inputs: int, outputs: int, std: float = math.sqrt(2)) -> nn.Linear:
    """A linear layer, orthogonal at first."""
    linear = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(linear.weight, std)
    nn.init.zeros_(linear.bias)
    return linear


class Agent(nn.Module):
    """A value, and one distribution over each ladder (the action is MultiDiscrete)."""

    def __init__(self, inputs: int, sizes: list[int]) -> None:
        super().__init__()
        self.sizes = sizes
        self.critic = nn.Sequential(layer(inputs, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, 1, 1.0))
        self.actor = nn.Sequential(layer(inputs, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, sum(sizes), 0.01))

    def value(self, observations: torch.Tensor) -> torch.Tensor:
        """(n,) of observations (n, entries)."""
        return self.critic(observations).squeeze(-1)

    def heads(self, observations: torch.Tensor) -> list[Categorical]:
        """One distribution a ladder."""
        return [Categorical(logits=logits) for logits in self.actor(observations).split(self.sizes, dim=-1)]


def log_prob(heads: list[Categorical], actions: torch.Tensor) -> torch.Tensor:
    """The ladders are chosen from independently."""
    return torch.stack([head.log_prob(actions[:, i]) for i, head in enumerate(heads)]).sum(0)


def validate(agent: Agent | None, envs: gym.vector.VectorEnv, seed: int) -> float:
    """Mean return of a validation day in every environment, by the likeliest actions; None: random ones."""
    observations, _ = envs.reset(seed=seed, options={"split": "validation"})
    envs.action_space.seed(seed)
    total, over = 0.0, False
    while not over:
        actions = envs.action_space.sample()
        if agent is not None:
            heads = agent.heads(torch.as_tensor(observations))
            actions = np.stack([head.probs.argmax(-1).numpy() for head in heads], axis=-1)
        observations, rewards, _, truncations, _ = envs.step(actions)
        total, over = total + rewards.mean(), truncations.all()
    return float(total)


def main() -> None:
    """Train, then compare with random actions on validation days."""
    args = arguments()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(args.seed)
    name = "deeprec_env:DeepRec/Serving-v1"
    envs = gym.make_vec(name, num_envs=args.num_envs, scenario=args.scenario)
    agent = Agent(envs.single_observation_space.shape[0], envs.single_action_space.nvec.tolist())
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)

    steps, count = args.num_steps, args.num_envs
    obs = torch.zeros(steps, count, envs.single_observation_space.shape[0])
    acts = torch.zeros(steps, count, len(agent.sizes), dtype=torch.int64)
    logs, rewards, dones, values = (torch.zeros(steps, count) for _ in range(4))
    # Rewards are divided by the spread of discounted returns, so that an overloaded day does not drown the others.
    returns, second_moment, seen = np.zeros(count), 0.0, 1e-4

    begun, updates = time.perf_counter(), math.ceil(args.total_timesteps / (steps * count))
    observations, _ = envs.reset(seed=args.seed)
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = args.learning_rate * (1.0 - update / updates)
        raw_mean = 0.0
        for step in range(steps):
            obs[step] = torch.as_tensor(observations)
            with torch.no_grad():
                heads = agent.heads(obs[step])
                acts[step] = torch.stack([head.sample() for head in heads], dim=-1)
                logs[step], values[step] = log_prob(heads, acts[step]), agent.value(obs[step])
            observations, raw, _, truncations, infos = envs.step(acts[step].numpy())
            raw_mean += raw.mean() / steps
            returns = returns * args.gamma + raw
            second_moment, seen = second_moment + (returns**2).sum(), seen + count
            rewards[step] = torch.as_tensor(np.clip(raw / math.sqrt(second_moment / seen + 1e-8), -10, 10))
            dones[step] = torch.as_tensor(truncations)
            if truncations.any():  # a day's end is no failure: what would have come is in the value of its last view
                returns[truncations] = 0.0
                with torch.no_grad():
                    last = agent.value(torch.as_tensor(np.stack(infos["final_obs"][truncations])))
                rewards[step, truncations] += args.gamma * last

        with torch.no_grad():
            advantages, following, later = torch.zeros_like(rewards), agent.value(torch.as_tensor(observations)), 0.0
            for step in reversed(range(steps)):
                goes_on = 1.0 - dones[step]
                delta = rewards[step] + args.gamma * following * goes_on - values[step]
                advantages[step] = later = delta + args.gamma * args.gae_lambda * goes_on * later
                following = values[step]
        flat = [part.flatten(0, 1) for part in (obs, acts, logs, advantages, advantages + values)]

        for _ in range(args.update_epochs):
            for chosen in np.array_split(rng.permutation(steps * count), max(1, steps * count // args.minibatch_size)):
                seen_obs, taken, old_log, advantage, target = (part[chosen] for part in flat)
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                heads = agent.heads(seen_obs)
                ratio = (log_prob(heads, taken) - old_log).exp()
                clipped = ratio.clamp(1.0 - args.clip_coef, 1.0 + args.clip_coef)
                policy_loss = -torch.min(ratio * advantage, clipped * advantage).mean()
                value_loss = 0.5 * (agent.value(seen_obs) - target).square().mean()
                entropy = torch.stack([head.entropy() for head in heads]).sum(0).mean()
                optimizer.zero_grad()
                (policy_loss + args.vf_coef * value_loss - args.ent_coef * entropy).backward()
                nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
                optimizer.step()
        done = (update + 1) * steps * count
        print(
            f"step {done}: mean reward {raw_mean:.3f}, {done / (time.perf_counter() - begun):.0f} steps/s", flush=True
        )
    envs.close()

    days = gym.make_vec(name, num_envs=args.eval_days, scenario=args.scenario)
    print(f"validation: return {validate(agent, days, args.seed):.1f}, random {validate(None, days, args.seed):.1f}")
    days.close()


if __name__ == "__main__":
    main()
