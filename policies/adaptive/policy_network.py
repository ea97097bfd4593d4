"""The network of a specialist: its file, and its forward pass in NumPy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from deeprec_env.errors import InputError
from deeprec_env.files import replacing_path
from deeprec_env.scenario.parts import Floats

TENSORS = ("mean", "scale", "weight0", "bias0", "weight1", "bias1", "weight2", "bias2")
"""Names of what a file holds: the features' mean and scale, and the layers, (in, out)."""

CLIP = 8.0
"""Normalised features are cut there: what lies further out was hardly ever seen in training."""

Tensors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class PolicyNetwork:
    """Preferences for the settings of a repertoire, from features; `facts` say what it was made of, and for what."""

    tensors: Tensors
    facts: Mapping[str, Any]

    def preferences(self, features: Floats) -> Floats:
        """Logits (n, settings) of features (n, inputs): two hidden layers with tanh."""
        of = self.tensors
        seen = normalised(features, of["mean"], of["scale"])
        for layer in range(2):
            seen = np.tanh(seen @ of[f"weight{layer}"] + of[f"bias{layer}"])
        return np.asarray(seen @ of["weight2"] + of["bias2"], dtype=np.float64)


def normalised(features: Floats, mean: NDArray[np.float32], scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features as the network takes them."""
    return np.asarray(np.clip((features - mean) / scale, -CLIP, CLIP), dtype=np.float32)


def write_policy(path: Path, network: PolicyNetwork) -> None:
    """Write a network's file, whole or not at all; its facts are any that JSON holds."""
    kept = {name: np.ascontiguousarray(network.tensors[name], dtype=np.float32) for name in TENSORS}
    about = {**network.facts, "sha256": _digest(kept, network.facts)}
    with replacing_path(path) as temporary:
        temporary.write_bytes(save(kept, {"about": json.dumps(about)}))


def read_policy(path: Path) -> PolicyNetwork:
    """The network in a file; `InputError` where its bytes are damaged."""
    try:
        data = path.read_bytes()
        tensors, facts = load(data), facts_in(data)
        said = facts.pop("sha256")
        whole = said == _digest({name: tensors[name] for name in TENSORS}, facts)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise InputError("specialist", str(path), f"must be a whole file of an agent ({_line(error)})") from None
    if not whole:
        raise InputError("specialist", str(path), "must be a whole file of an agent: its bytes are damaged")
    return PolicyNetwork(tensors, facts)


def facts_in(data: bytes) -> dict[str, Any]:
    """What a file says of itself: the format keeps it in its header, which its library does not hand out with bytes."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    facts = json.loads(header["__metadata__"]["about"])
    if not isinstance(facts, dict):
        raise ValueError("about must be a mapping")
    return facts


def _digest(tensors: Tensors, facts: Mapping[str, Any]) -> str:
    """Of weights and facts: what a file says it was made for is protected too."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in TENSORS:
        digest.update(f"{name} {tensors[name].shape} ".encode() + np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()


def _line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
