"""The hyperparameters that a search tries, and the values that each may have."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from deeprec_env.agents.algorithms import ALGORITHMS
from deeprec_env.agents.hyperparams import Hyperparams

_DISCOUNTS = (0.0, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99)
_STEPS = (24, 48, 96, 192)  # a quarter of a day's windows to two days
_MINIBATCHES = (1, 2, 4, 8)  # divisors of all of these


def suggest(trial: Any, algo: str, base: Hyperparams) -> dict[str, Any]:
    """What an Optuna trial changes of a file's hyperparameters, as they stand in RL Zoo's files.

    What it does not name stays as in the file, such as environments, normalisation, wrapper and buffer.
    """
    width = trial.suggest_categorical("width", (32, 64, 128))
    changes: dict[str, Any] = {
        "learning_rate": f"lin_{_log(trial, 'learning_rate', 1e-4, 1e-2)}",
        "gamma": trial.suggest_categorical("gamma", _DISCOUNTS),
        "policy_kwargs": str({**base.algorithm.get("policy_kwargs", {}), "net_arch": [width, width]}),
    }
    if issubclass(ALGORITHMS[algo], OnPolicyAlgorithm):
        return changes | _on_policy(trial, algo, base.n_envs)
    return changes | _off_policy(trial, algo, base)


def _on_policy(trial: Any, algo: str, n_envs: int) -> dict[str, Any]:
    n_steps = trial.suggest_categorical("n_steps", _STEPS)
    changes = {
        "n_steps": n_steps,
        "gae_lambda": trial.suggest_categorical("gae_lambda", (0.8, 0.9, 0.95, 1.0)),
        "ent_coef": _log(trial, "ent_coef", 1e-5, 3e-2),
    }
    if algo == "a2c":
        return changes
    return changes | {
        "batch_size": n_steps * n_envs // trial.suggest_categorical("minibatches", _MINIBATCHES),
        "n_epochs": trial.suggest_categorical("n_epochs", (5, 10, 20)),
        "clip_range": trial.suggest_categorical("clip_range", (0.1, 0.2, 0.3)),
    }


def _off_policy(trial: Any, algo: str, base: Hyperparams) -> dict[str, Any]:
    changes = {
        "batch_size": trial.suggest_categorical("batch_size", (64, 128, 256)),
        "gradient_steps": trial.suggest_categorical("gradient_steps", (1, 2, 4)),
    }
    if algo in ("dqn", "qrdqn"):
        return changes | {
            "target_update_interval": trial.suggest_categorical("target_update_interval", (100, 400, 1000, 4000)),
            "exploration_fraction": round(trial.suggest_float("exploration_fraction", 0.1, 0.6), 3),
            "exploration_final_eps": _log(trial, "exploration_final_eps", 0.005, 0.1),
        }
    noise = {} if base.noise is None else {"noise_std": _log(trial, "noise_std", 0.05, 0.5)}
    return changes | {"tau": _log(trial, "tau", 0.002, 0.1)} | noise


def _log(trial: Any, name: str, low: float, high: float) -> float:
    """A number between two others, even in its logarithm, with three digits."""
    return float(f"{trial.suggest_float(name, low, high, log=True):.3g}")
