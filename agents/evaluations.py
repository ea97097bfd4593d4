"""The validations of a training in `evaluations.npz`, as Stable-Baselines3's EvalCallback writes them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.files import replacing_path

EVALUATIONS = "evaluations.npz"


@dataclass
class Evaluations:
    """Validations in the order of their `timesteps`.

    `returns` and `lengths`: of each, the sum of rewards and the steps of every validation episode. `figures`: by name,
    one number of each. In the file `timesteps` (n,), `results` (n, episodes) and `ep_lengths` (n, episodes) are
    EvalCallback's; the figures stand beside them, (n,) each, for RL Zoo's `--key`.
    """

    timesteps: list[int] = field(default_factory=list)
    returns: list[list[float]] = field(default_factory=list)
    lengths: list[list[int]] = field(default_factory=list)
    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, timesteps: int, rewards: Sequence[Sequence[float]], figures: Mapping[str, float]) -> None:
        """Another validation: the rewards of each of its episodes, and what was judged of them."""
        missing = [float("nan")] * len(self.timesteps)  # of a figure that earlier versions did not judge
        self.timesteps.append(timesteps)
        self.returns.append([float(sum(each)) for each in rewards])
        self.lengths.append([len(each) for each in rewards])
        for name, value in figures.items():
            self.figures.setdefault(name, list(missing)).append(float(value))

    def write(self, folder: Path) -> None:
        """Replace the file of a folder."""
        arrays = {name: np.array(values) for name, values in self.figures.items()}
        with replacing_path(folder / EVALUATIONS) as path, path.open("wb") as file:
            np.savez(
                file,
                timesteps=np.array(self.timesteps),
                results=np.array(self.returns),
                ep_lengths=np.array(self.lengths),
                **arrays,  # type: ignore[arg-type]
            )


def read_evaluations(folder: Path, until: int | None = None) -> Evaluations:
    """The validations that a training has left, those after `until` timesteps left out; none without the file.

    Raises `InputError` for a file that is none.
    """
    path = folder / EVALUATIONS
    if not path.exists():
        return Evaluations()
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        steps, returns, lengths = (arrays.pop(name) for name in ("timesteps", "results", "ep_lengths"))
        kept = np.arange(len(steps)) if until is None else np.flatnonzero(steps <= until)
        return Evaluations(
            steps[kept].tolist(),
            returns[kept].tolist(),
            lengths[kept].tolist(),
            {name: values[kept].tolist() for name, values in arrays.items()},
        )
    except (OSError, ValueError, KeyError, IndexError, TypeError, zipfile.BadZipFile) as error:
        raise InputError("output", str(path), f"must be the {EVALUATIONS} of a training ({error})") from None
