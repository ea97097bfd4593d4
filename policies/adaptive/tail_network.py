"""The network that predicts p95 and p99 of a service: its file, and its forward pass in NumPy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from deeprec_env.analysis.service_features import FEATURES, Estimate
from deeprec_env.errors import InputError
from deeprec_env.files import replacing_path
from deeprec_env.scenario.parts import Floats

ENVIRONMENT = "DeepRec/Serving-v1"
"""What a network is for: its services are those of this environment."""

SHIPPED = "generalist.safetensors"
TENSORS = ("mean", "scale", "lowest", "highest", "weight0", "bias0", "weight1", "bias1", "weight2", "bias2")
"""Names of what a file holds: features' mean and scale, the range they were trained in, and the layers, (in, out)."""

Tensors = Mapping[str, NDArray[np.float32]]


class TailNetwork:
    """How far p95 and p99 are from the queueing estimates, from features. `facts` say where the network comes from."""

    def __init__(self, tensors: Tensors, facts: Mapping[str, Any]) -> None:
        self.facts = facts
        self._of = {name: np.asarray(tensors[name], dtype=np.float64) for name in TENSORS}

    def corrections(self, rows: Floats) -> Floats:
        """What to add to the logarithms of both estimates: (..., 2) for features (..., len(FEATURES))."""
        of = self._of
        seen = (rows - of["mean"]) / of["scale"]
        for layer in range(2):
            seen = _silu(seen @ of[f"weight{layer}"] + of[f"bias{layer}"])
        return np.asarray(seen @ of["weight2"] + of["bias2"])

    def knows(self, rows: Floats) -> NDArray[np.bool_]:
        """Whether features lie within the range of the training, (...)."""
        return np.asarray(((rows >= self._of["lowest"]) & (rows <= self._of["highest"])).all(axis=-1))

    def log_tail_s(self, estimate: Estimate) -> Floats:
        """Logarithms of p95 and p99 in seconds, (rates, settings, 2); beyond the training the queueing estimates."""
        corrections = np.where(self.knows(estimate.rows)[..., None], self.corrections(estimate.rows), 0.0)
        found = estimate.log_tail_s + corrections
        found[..., 1] = np.maximum(found[..., 0], found[..., 1])
        return found


def write_network(path: Path, tensors: Tensors, facts: Mapping[str, Any]) -> None:
    """Write a network's file, whole or not at all; `facts` are any that JSON holds."""
    kept = {name: np.ascontiguousarray(tensors[name], dtype=np.float32) for name in TENSORS}
    about = {**facts, "environment": ENVIRONMENT, "features": list(FEATURES), "sha256": _digest(kept)}
    with replacing_path(path) as temporary:
        temporary.write_bytes(save(kept, {"about": json.dumps(about)}))


def shipped_network() -> TailNetwork:
    """The network of the package."""
    file = resources.files("deeprec_env.policies") / "shipped" / SHIPPED
    with resources.as_file(file) as path:
        return read_network(path)


def read_network(path: Path) -> TailNetwork:
    """The network in a file; `InputError` where its bytes are damaged, or it was made for something else."""
    try:
        data = path.read_bytes()
        tensors, facts = load(data), _facts(data)
        whole = facts["sha256"] == _digest({name: tensors[name] for name in TENSORS})
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise InputError("generalist", str(path), f"must be a whole file of its network ({_line(error)})") from None
    if not whole:
        raise InputError("generalist", str(path), "must be a whole file of its network: its bytes are damaged")
    if facts.get("environment") != ENVIRONMENT or facts.get("features") != list(FEATURES):
        made_for = f"{facts.get('environment')} and {len(facts.get('features') or ())} features"
        raise InputError("generalist", str(path), f"was made for {made_for}; needs {ENVIRONMENT} and {len(FEATURES)}")
    return TailNetwork(tensors, facts)


def _facts(data: bytes) -> dict[str, Any]:
    """The file's `about`: the format keeps it in its header, which its library does not hand out with bytes."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    facts = json.loads(header["__metadata__"]["about"])
    if not isinstance(facts, dict):
        raise ValueError("about must be a mapping")
    return facts


def _digest(tensors: Tensors) -> str:
    digest = hashlib.sha256()
    for name in TENSORS:
        digest.update(f"{name} {tensors[name].shape} ".encode() + np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()


def _silu(values: Floats) -> Floats:
    return np.asarray(values / (1.0 + np.exp(-values.clip(-60.0))))


def _line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
