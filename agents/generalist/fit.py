"""The network of tails, fitted to simulated services."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deeprec_env.agents.generalist.data import Simulated
from deeprec_env.analysis.service_features import FEATURES, Service
from deeprec_env.scenario.parts import Floats

HIDDEN = 128
EPOCHS = 40
BATCH = 1024
LEARNING_RATE = 2e-3
VALIDATION = 10
"""Every so many services one is kept from the training, to judge it by."""

_MARGIN = 0.02  # of a feature's range: as far outside it a row still counts as known


@dataclass(frozen=True)
class Fitted:
    """The tensors of `tail_network`, and the error on services that were kept back.

    `error` holds the mean absolute error of ln p95 and ln p99, `queueing_error` that of the estimates alone.
    """

    tensors: dict[str, NDArray[np.float32]]
    error: tuple[float, float]
    queueing_error: tuple[float, float]


def rows_of(services: Sequence[Simulated]) -> tuple[Floats, Floats]:
    """Features (rows, len(FEATURES)), and how far ln p95 and ln p99 are from the queueing estimates, (rows, 2)."""
    seen, wanted = [], []
    for each in services:
        count, rates = each.qps.shape
        estimate = Service(each.scenario, each.settings).estimate(each.qps.ravel())
        own = np.arange(count * rates), np.repeat(np.arange(count), rates)  # each rate is that of one setting
        seen.append(estimate.rows[own])
        wanted.append(np.log(each.tails_s.reshape(-1, 2)) - estimate.log_tail_s[own])
    return np.concatenate(seen), np.concatenate(wanted)


def fit(services: Sequence[Simulated], seed: int, progress: Callable[[int], None] = lambda epochs: None) -> Fitted:
    """Fit the network: Huber's loss, Adam, a learning rate that falls to 0; `progress` is told of each epoch."""
    kept = [services[number] for number in range(0, len(services), VALIDATION)]
    rest = [each for number, each in enumerate(services) if number % VALIDATION]
    rows, wanted = rows_of(rest)
    checked, answers = rows_of(kept)
    mean, scale = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)
    spread = rows.max(axis=0) - rows.min(axis=0)
    torch.manual_seed(seed)
    network = make_network()
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    steps = EPOCHS * -(-len(rows) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    inputs = torch.from_numpy((rows - mean) / scale).float()
    targets = torch.from_numpy(wanted).float()
    generator = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for chosen in torch.split(torch.randperm(len(inputs), generator=generator), BATCH):
            loss = torch.nn.functional.huber_loss(network(inputs[chosen]), targets[chosen], delta=0.2)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        progress(1)
    with torch.no_grad():
        found = network(torch.from_numpy((checked - mean) / scale).float()).numpy()
    tensors = {
        "mean": mean,
        "scale": scale,
        "lowest": rows.min(axis=0) - _MARGIN * spread - 1e-6,
        "highest": rows.max(axis=0) + _MARGIN * spread + 1e-6,
        **layers(network),
    }
    return Fitted(
        {name: np.asarray(value, dtype=np.float32) for name, value in tensors.items()},
        _error(found - answers),
        _error(answers),
    )


def make_network() -> torch.nn.Sequential:
    """The network before its training."""
    return torch.nn.Sequential(
        torch.nn.Linear(len(FEATURES), HIDDEN),
        torch.nn.SiLU(),
        torch.nn.Linear(HIDDEN, HIDDEN),
        torch.nn.SiLU(),
        torch.nn.Linear(HIDDEN, 2),
    )


def layers(network: torch.nn.Sequential) -> dict[str, Any]:
    """Its weights as `tail_network` names them, (in, out), and its biases."""
    found: dict[str, Any] = {}
    for place, layer in enumerate(each for each in network if isinstance(each, torch.nn.Linear)):
        found[f"weight{place}"] = layer.weight.detach().numpy().T
        found[f"bias{place}"] = layer.bias.detach().numpy()
    return found


def _error(differences: Floats) -> tuple[float, float]:
    p95, p99 = np.abs(differences).mean(axis=0).tolist()
    return p95, p99
