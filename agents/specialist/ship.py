"""Putting agents into the package: of each scenario the best of its trainings, by validation traffic."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from deeprec_env.agents.specialist.training import SUMMARY
from deeprec_env.errors import InputError
from deeprec_env.policies.adaptive.policy_network import PolicyNetwork, read_policy, write_policy
from deeprec_env.policies.adaptive.specialist_file import AGENT

MOST_BYTES = 2**20


def best_of(trainings: Iterable[Path]) -> Path:
    """The folder of the training with the lowest score; `InputError` where none has finished."""
    scores = {}
    for folder in trainings:
        if (folder / SUMMARY).is_file():
            scores[folder] = float(json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["chosen"]["score"])
    if not scores:
        raise InputError("output", "no finished training", f"must hold a {SUMMARY}")
    return min(scores, key=lambda folder: scores[folder])


def ship(training: Path, folder: Path) -> Path:
    """Write a training's agent into the folder of those that are shipped, under its scenario's name.

    Its cost is that of the whole training, which goes on after the network that is kept.
    """
    kept = read_policy(training / AGENT)
    summary = json.loads((training / SUMMARY).read_text(encoding="utf-8"))
    network = PolicyNetwork(kept.tensors, {**kept.facts, "tuning_queries": summary["tuning_queries"]})
    version = str(network.facts["environment"]).rpartition("-")[2]
    file = folder / f"specialist-{network.facts['scenario']}-{version}.safetensors"
    write_policy(file, network)
    if file.stat().st_size >= MOST_BYTES:
        raise InputError("agent", str(file), f"must be under {MOST_BYTES} bytes")
    return file
